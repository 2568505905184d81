package realtime

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/wire"
)

var (
	presenceOK    = channels.Reply{Status: "ok"}
	presenceError = channels.Reply{Status: "error"}
)

// handlePresence handles track and untrack (realtime_channel/presence_handler.ex).
func (l *logic) handlePresence(c *channels.Context, p channels.Payload) (channels.Reply, error) {
	s := sessionKey.Get(c)
	m := payloadOf(p)
	if m["event"] == nil {
		return presenceOK, nil
	}
	limits := &l.config.Load().Limits
	if s.presenceAbove(limits, time.Now()) {
		return none, l.shutdown(c, "Client presence rate limit exceeded")
	}
	event, _ := m.text("event")
	switch strings.ToLower(event) {
	case "track":
		if s.private && !s.rights.Write {
			return presenceError, nil
		}
		return l.track(c, s, m["payload"])
	case "untrack":
		l.presence.Untrack(c, s.key)
		s.tracked = 0
		return presenceOK, nil
	}
	return presenceError, nil
}

// track makes the client present, or changes its meta.
func (l *logic) track(c *channels.Context, s *session, meta json.RawMessage) (channels.Reply, error) {
	if meta == nil {
		meta = json.RawMessage("{}")
	}
	if !wire.IsObject(meta) {
		return none, channels.Errorf("Presence track payload must be a map")
	}
	hash := maphash.Bytes(hashSeed, meta) | 1 // never 0
	if hash == s.tracked {
		return presenceOK, nil
	}
	if len(meta) > maxMeta {
		return none, l.shutdown(c, "Track message size exceeded")
	}
	if l.countPresence() {
		return none, l.shutdown(c, "Too many presence messages per second")
	}
	_, err := l.presence.Track(c, s.key, meta)
	if errors.Is(err, presence.ErrAlreadyTracked) {
		_, err = l.presence.Update(c, s.key, meta)
	}
	if err != nil {
		l.debug(c, "presence not tracked").Err(err).Write()
		return presenceError, nil
	}
	s.tracked = hash
	return presenceOK, nil
}

// countPresence counts a presence message of the instance, and reports whether there are too
// many.
func (l *logic) countPresence() (above bool) {
	l.presences.Add(1)
	return l.above(&l.rates.presences, l.config.Load().Limits.Presences)
}

// presenceAbove counts a presence message of the channel, and reports whether it exceeds
// the limit of the window.
func (s *session) presenceAbove(l *Limits, now time.Time) bool {
	if l.ClientPresences == 0 {
		return false
	}
	if now.After(s.windowEnds) {
		s.windowEnds, s.windowCount = now.Add(time.Duration(l.ClientPresenceWindow)), 0
	}
	s.windowCount++
	return s.windowCount > l.ClientPresences
}

// presenceKey returns the key under which a client is present: the one that it asks for, or
// else a UUID.
func presenceKey(raw json.RawMessage) (key, wrong string) {
	var value any
	if len(raw) > 0 && json.Unmarshal(raw, &value) == nil {
		switch v := value.(type) {
		case string:
			key = v
		case float64, bool:
			key = string(raw)
		}
	}
	switch {
	case key == "":
		return newUUID(), ""
	case len(key) > maxPresenceKey:
		return "", fmt.Sprintf("presence.key is longer than %d bytes", maxPresenceKey)
	case presence.BreaksClients(key):
		return "", fmt.Sprintf("presence.key is %q, which breaks the presence lists of JavaScript clients: choose another", key)
	}
	return key, ""
}

// newUUID returns a random UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
