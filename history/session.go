package history

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// A session is the name that a client has chosen for all its connections. The store
// keeps what the client has acknowledged of each of its topics, so that a client that
// comes back with the name is sent what it missed and need not know positions.
//
// Most topics of a client have the same position: it has acknowledged everything up to
// there (Session.acked). Topics that differ are listed: those that it has not joined
// again since it came back, and those that it joined so recently that it has not
// acknowledged anything since. So a session without news takes 48 bytes, and its place in
// sessionTable.
//
// A position is advanced in two steps. A probe is sent behind everything that was sent
// before (Advance), and the position counts when the client has answered it (Confirm).

// SessionKey identifies a session: it depends on the client's name for it, on who the
// client is and on the space, so nobody can take another's. The last byte is 1 if the space is on all
// nodes, else 0.
type SessionKey [16]byte

func (k *SessionKey) shared() bool { return k[len(k)-1] == 1 }

// SessionKey returns the key for a client's name of a session. client is what the
// server knows of who it is; it may be empty.
func (sp *Space) SessionKey(client, name string) (key SessionKey) {
	h := hmac.New(sha256.New, sp.store.sessions.secret)
	for _, part := range []string{sp.name, client, name} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	copy(key[:], h.Sum(nil))
	if key[len(key)-1] = 0; sp.logs.Load() == sp.store.shared {
		key[len(key)-1] = 1
	}
	return key
}

// Sender returns what identifies the client in [Message.Sender].
func (k SessionKey) Sender() uint64 { return max(1, binary.BigEndian.Uint64(k[8:])) }

// Session is what one client has acknowledged.
type Session struct {
	key SessionKey // static

	// Guarded by Sessions.mu.
	conn  SessionConn  // nil: there is none
	acked *Position    // of each topic that is joined and not listed
	rest  *sessionRest // nil: all of it is zero
}

// sessionRest is the part of a session that those without news do not need.
type sessionRest struct {
	topics []sessionTopic
	probed *Position // what acked will be when the probe is answered; nil: none is on its way
	number uint32    // of that probe
	waits  bool      // what others know of it has yet to come: see sessionWait
	// The position of topics that nobody knows, until afterUntil: see afterCrash. nil: there
	// is none.
	after      *Position
	afterUntil time.Time
	late       *Session // a copy that has come while there is a connection; nil: none

	// Of a kept session.
	prev, next *Session
	ended      time.Time
	bytes      int64
	givenTo    LogID // another node that it was given to; 0: none
	// version orders copies: it is the time at which the connection ended, in milliseconds, or
	// more if the node had seen a larger one.
	version uint64
}

// sessionTopic is a topic whose position is not that of the session.
type sessionTopic struct {
	name  string
	pos   *Position
	probe uint32 // the first probe that includes it; 0: none yet, the client has not been sent all it missed
	ended int64  // when it was last joined, Unix seconds; 0: it is joined
	known bool   // pos was acknowledged on an earlier connection, or the wait for that is over
	// pos is where the client joined, and it has acknowledged nothing since: it may have given up that connection, and
	// have less elsewhere. See mergeSessions.
	guessed bool
}

// NewSession returns a session of the space, without a connection.
func (sp *Space) NewSession(client, name string) *Session {
	return &Session{key: sp.SessionKey(client, name)}
}

// Key returns the session's key.
func (one *Session) Key() SessionKey { return one.key }

// The methods of a Session are called with Sessions.mu held.

func (one *Session) find(topic string) *sessionTopic {
	if one.rest == nil {
		return nil
	}
	i := slices.IndexFunc(one.rest.topics, func(t sessionTopic) bool { return t.name == topic })
	if i < 0 {
		return nil
	}
	return &one.rest.topics[i]
}

func (one *Session) add(t sessionTopic) *sessionTopic {
	r := one.more()
	r.topics = append(r.topics, t)
	return &r.topics[len(r.topics)-1]
}

// more returns the rest of a session, which it makes if need be.
func (one *Session) more() *sessionRest {
	if one.rest == nil {
		one.rest = new(sessionRest)
	}
	return one.rest
}

// guesses reports whether the next answer to a probe shows that the client has a join's reply.
func (one *Session) guesses() bool {
	return one.rest != nil && slices.ContainsFunc(one.rest.topics, func(t sessionTopic) bool { return t.guessed && t.probe != 0 })
}

func (one *Session) waits() bool { return one.rest != nil && one.rest.waits }

func (one *Session) setWaits(waits bool) {
	if waits != one.waits() {
		one.more().waits = waits
		one.tidy()
	}
}

// tidy gives back the memory of a rest that is not needed any more.
func (one *Session) tidy() {
	if r := one.rest; r != nil && len(r.topics) == 0 && r.after == nil && r.probed == nil && r.late == nil && !r.waits {
		one.rest = nil
	}
}

// lose notes that a topic is no longer joined. If it is not listed, it has the position of
// the session from now on, even when that advances.
func (one *Session) lose(topic string, now time.Time) {
	t := one.find(topic)
	if t == nil {
		if one.acked == nil {
			return
		}
		if one.rest != nil && len(one.rest.topics) >= maxSessionTopics {
			one.forgetOld(now)
		}
		t = one.add(sessionTopic{name: topic, pos: one.acked})
	}
	t.probe, t.ended = 0, now.Unix()
	t.known = t.known || !one.waits()
}

// advance moves the session to a position, and so the topics whose replay had ended when
// the probe with that number was sent. A topic that was joined after the position was read
// stays listed: its client must not be sent what was before.
func (one *Session) advance(to *Position, number uint32, now time.Time) {
	one.acked = to
	if one.rest == nil {
		return
	}
	one.expire(now)
	one.rest.topics = slices.DeleteFunc(one.rest.topics, func(t sessionTopic) bool {
		return t.probe != 0 && int32(number-t.probe) >= 0 && (t.known || to.reaches(*t.pos))
	})
	one.tidy()
}

// forgetOld drops topics that were not joined for SessionAge, and of the others that are
// not joined those above the bound.
func (one *Session) forgetOld(now time.Time) {
	if one.rest == nil {
		return
	}
	oldest, r := now.Add(-SessionAge).Unix(), one.rest
	extra := len(r.topics) - maxSessionTopics
	r.topics = slices.DeleteFunc(r.topics, func(t sessionTopic) bool {
		extra--
		return t.ended != 0 && (t.ended < oldest || extra >= 0)
	})
	one.expire(now)
	one.tidy()
}

// expire drops what was kept of other connections for SessionAge.
func (one *Session) expire(now time.Time) {
	r := one.rest
	if !now.Before(r.afterUntil) {
		r.after = nil
	}
	if r.late != nil {
		if r.late.forgetOld(now); r.late.rest == nil {
			r.late = nil
		}
	}
}

// clone returns a session that is as one, and has no connection.
func (one *Session) clone() *Session {
	c := &Session{key: one.key, acked: one.acked}
	if r := one.rest; r != nil {
		c.rest = &sessionRest{topics: slices.Clone(r.topics), waits: r.waits, after: r.after, afterUntil: r.afterUntil, late: r.late}
	}
	return c
}

// succeed takes the place of a session without a connection.
func (one *Session) succeed(before *Session) {
	one.acked, one.rest = before.acked, before.rest
	before.rest = nil
}

// inherit takes over the topics of the connection before. Those that were joined meanwhile
// get their older positions.
func (one *Session) inherit(before *Session) {
	if before.rest == nil {
		return
	}
	for _, t := range before.rest.topics {
		switch mine := one.find(t.name); {
		case mine == nil:
			one.add(t)
		case !mine.known || !t.guessed:
			mine.pos, mine.known, mine.guessed = t.pos, t.known, t.guessed
		}
	}
	one.fallBack(before.rest.after, before.rest.afterUntil)
}
