package events

import (
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// HookStats are the figures of a hook. Its counters begin at 0 when the hook is opened:
// at the server's start, and when its configuration changes.
type HookStats struct {
	Instance, Hook string
	Events         []string      // names of the kinds that it is sent
	Delivered      uint64        // events
	Refused        uint64        // events that became dead letters
	Lost           uint64        // events that were dropped because the outbox was full
	Requests       uint64        // including repeated ones
	Failed         uint64        // requests that failed
	Waiting        uint64        // events in the outbox after the last that it is done with, whether it takes them or not
	Lag            time.Duration // the age of the oldest event that is being delivered; 0: none
	DeadLetters    int
	LastError      string    // "" after a success
	LastTry        time.Time // zero: there was none yet
	Durations      *webhook.Histogram
}

// StreamStats are the figures of a stream.
type StreamStats struct {
	Instance  string
	Stored    uint64 // events
	Missed    uint64 // events that could not be stored
	Bytes     int64  // in the outbox
	Followers int
	Hooks     []HookStats
}

// Stats returns the figures of all streams, by instance.
func (e *Events) Stats() (list []StreamStats) {
	e.mu.Lock()
	streams := make([]*Stream, 0, len(e.streams))
	for _, s := range e.streams {
		streams = append(streams, s)
	}
	e.mu.Unlock()
	for _, s := range streams {
		list = append(list, s.stats())
	}
	slices.SortFunc(list, func(a, b StreamStats) int { return strings.Compare(a.Instance, b.Instance) })
	return list
}

// StatsOf returns the figures of the hooks of an instance.
func (e *Events) StatsOf(id string) StreamStats {
	e.mu.Lock()
	s := e.streams[id]
	e.mu.Unlock()
	if s == nil {
		return StreamStats{Instance: id}
	}
	return s.stats()
}

func (s *Stream) stats() StreamStats {
	s.listeners.mu.Lock()
	followers := len(s.listeners.followers)
	s.listeners.mu.Unlock()
	out := StreamStats{
		Instance: s.options.Instance, Stored: s.stored.Load(), Missed: s.missedAll.Load(), Bytes: s.log.Size(), Followers: followers,
	}
	for _, h := range s.listeners.allHooks() {
		out.Hooks = append(out.Hooks, h.figures())
	}
	return out
}

func (h *hook) figures() HookStats {
	st := &h.stats
	f := HookStats{
		Instance: h.stream.options.Instance, Hook: h.name, Events: h.Selects.names(),
		Delivered: st.delivered.Load(), Refused: st.dead.Load(), Lost: st.lost.Load(), Requests: st.sent.Load(), Failed: st.failed.Load(),
		DeadLetters: h.dead.len(), Durations: &st.durations,
	}
	if next, done := h.stream.log.Next(), h.doneTo.Load(); next > done {
		f.Waiting = next - done
	}
	if since := st.waitingSince.Load(); since > 0 {
		f.Lag = max(0, h.stream.options.Now().Sub(time.UnixMilli(since)))
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	f.LastError, f.LastTry = st.lastError, st.lastTry
	return f
}

func (s *Selection) names() (names []string) {
	for k := Connected; k < Lost; k++ {
		if s.kinds.has(k) {
			names = append(names, k.String())
		}
	}
	return names
}
