package observer

import "github.com/mycelium-rt/mycelium/history"

// Recorded is what the histories of all instances have, and what clients were sent of
// them.
type Recorded struct {
	Topics   int64 `json:"topics"`
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Memory   int64 `json:"memory"` // the limit of Bytes
	// Evicted counts the messages that were dropped because of the limit.
	Evicted uint64 `json:"evicted"`
	// Replays counts the joins that asked for recorded messages, or were sent some;
	// NotRecovered those to which some were missing.
	Replays      int64 `json:"replays"`
	NotRecovered int64 `json:"not_recovered"`
	// Sessions are those of connected clients, KeptSessions those that are kept for clients
	// that have lost their connection.
	Sessions     int `json:"sessions"`
	KeptSessions int `json:"kept_sessions"`
}

// recordedIn returns what a store has, nil as long as nothing was ever recorded.
func recordedIn(stats func() history.Stats) *Recorded {
	if stats == nil {
		return nil
	}
	s := stats()
	if s.Recorded == 0 && s.Topics == 0 {
		return nil
	}
	return &Recorded{
		Topics: s.Topics, Messages: s.Messages, Bytes: s.Bytes, Memory: s.Memory, Evicted: s.Evicted,
		Sessions: s.Sessions.Connected, KeptSessions: s.Sessions.Kept,
	}
}
