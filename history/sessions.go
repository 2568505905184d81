package history

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// SessionAge is how long a session is kept after its connection has ended.
	SessionAge = 2 * time.Minute
	// maxSessionTopics bounds the topics that are kept of a session.
	maxSessionTopics = 1000
	// sessionPart is the part of Options.Memory that kept sessions may take beside it.
	sessionPart = 4
	// sessionBytes and sessionTopicBytes are about what a kept session takes, and a topic
	// of it beside its name.
	sessionBytes      = 192
	sessionTopicBytes = 128
)

// SessionConn is the connection of a session.
type SessionConn interface {
	// GiveUp is called when the client has connected again: the connection calls
	// [Sessions.Lend] or [Sessions.End] soon. GiveUp must not block, and must not call the
	// Sessions.
	GiveUp()
}

// Sessions are the sessions of a store. Its methods are safe from any goroutine.
type Sessions struct {
	// Static after construction.
	store  *Store
	secret []byte
	most   int64 // bytes of kept sessions

	kept atomic.Int64 // how many are kept; changes with mu

	mu sync.Mutex
	// Guarded by mu.
	by             sessionTable // connected, kept or waiting
	oldest, newest *Session     // kept ones, in the order in which their connections ended
	bytes          int64        // what they take
	dropped        uint64       // how many were dropped before their time
	probe          uint32       // the number of the last probe
	probes         uint64       // that were sent
	confirmed      uint64       // that counted
	waits          map[SessionKey]*sessionWait
	lent           map[SessionKey][]*Session // with connections that may be half-open: see Lend
	version        uint64                    // the largest that was seen: see sessionRest.version
	share          shareSessions
}

// SessionStats are the figures of sessions.
type SessionStats struct {
	// Connected and Kept are the sessions with and without a connection; Bytes is the
	// memory of those without.
	Connected, Kept int
	Bytes           int64
	// Dropped counts the sessions that were dropped because memory was short, Probes
	// the probes, and Confirmed those that clients have confirmed.
	Dropped, Probes, Confirmed uint64
}

func newSessions(s *Store, secret []byte) *Sessions {
	return &Sessions{store: s, secret: secret, most: s.memory / sessionPart}
}

// Sessions returns the sessions of all spaces.
func (s *Store) Sessions() *Sessions { return s.sessions }

// Sessions returns the sessions of all spaces of the store.
func (sp *Space) Sessions() *Sessions { return sp.store.sessions }

// Connect gives a new session its connection, and what was kept under its key. If
// another connection has that session, it is asked to give it up.
func (s *Sessions) Connect(one *Session, conn SessionConn) {
	s.mu.Lock()
	before := s.by.find(one.key)
	one.conn = conn
	s.by.put(one)
	to, elsewhere := s.share.givesTo[one.key]
	if elsewhere { // the client was there, and has come back
		s.give(&Session{key: one.key}, to)
	}
	asks := s.asks(one)
	var other SessionConn
	switch {
	case before == nil:
		one.setWaits(asks)
	case before.conn != nil:
		one.setWaits(true)
		s.awaitEnd(one.key)
		other = before.conn
	case before.waits():
		one.succeed(before)
	case asks:
		one.setWaits(true)
		s.unkeep(before)
		if before.forgetOld(s.store.now()); before.rest != nil {
			s.waitOf(one.key).found = before
		}
	default:
		s.unkeep(before)
		one.succeed(before)
		one.forgetOld(s.store.now())
	}
	if asks { // others may know more, even if it was here: a client moves without saying so
		s.ask(one.key)
	}
	s.mu.Unlock()
	if other != nil {
		other.GiveUp()
	}
}

// asks reports whether other nodes may know a session.
func (s *Sessions) asks(one *Session) bool { return s.share.link != nil && one.key.shared() }

// Join notes that the client has joined a topic. now is a position that was read after the
// client was subscribed.
func (s *Sessions) Join(one *Session, topic string, now Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.conn == nil {
		return
	}
	t := one.find(topic)
	if t == nil {
		t = one.add(sessionTopic{name: topic, pos: &now, guessed: true})
		if r := one.rest; r.after != nil && s.store.now().Before(r.afterUntil) {
			t.pos, t.known, t.guessed = r.after, true, false
		}
	}
	t.probe, t.ended = 0, 0
}

// After returns what the client has acknowledged of a topic that it has joined: on an
// earlier connection if known is true, otherwise up to now, the position that [Sessions.Join]
// was given. If wait is true, it may have been joined on an earlier connection, which has yet to
// say so.
func (s *Sessions) After(one *Session, topic string, now Position) (after Position, known, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := one.find(topic)
	if t == nil {
		return now, false, false
	}
	return *t.pos, t.known, one.waits()
}

// CaughtUp notes that the client has been sent everything that it missed of a topic.
func (s *Sessions) CaughtUp(one *Session, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := one.find(topic); t != nil && t.ended == 0 {
		t.probe = s.nextProbe()
	}
}

// Leave notes that the client has left a topic, and will not join it again by itself.
func (s *Sessions) Leave(one *Session, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.conn != nil && one.rest != nil {
		one.rest.topics = slices.DeleteFunc(one.rest.topics, func(t sessionTopic) bool { return t.name == topic })
		one.tidy()
	}
}

// Lose notes that a topic has ended for a client that is likely to join it again.
func (s *Sessions) Lose(one *Session, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.conn != nil {
		one.lose(topic, s.store.now())
	}
}

// Advance has the session move to a position, which includes no message of a joined
// topic that has yet to be sent. If the client was sent recorded messages since the last
// new probe (heard), or has acknowledged nothing since a join, the position counts when the client answers a probe with the
// number that is returned. Otherwise it counts at once, and the number is 0. fresh is
// false for a probe that was not answered yet, and is to be sent again.
func (s *Sessions) Advance(one *Session, to *Position, heard bool) (probe uint32, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case one.conn == nil || one.waits():
		return 0, false
	case one.rest != nil && one.rest.probed != nil:
		return one.rest.number, false
	case heard || one.guesses():
		s.probe = s.nextProbe()
		s.probes++
		r := one.more()
		r.probed, r.number = to, s.probe
		return s.probe, true
	}
	one.advance(to, s.nextProbe(), s.store.now())
	return 0, false
}

// nextProbe returns the number of the next probe, of any session. It is not 0.
func (s *Sessions) nextProbe() uint32 { return max(1, s.probe+1) }

// Confirm notes that the client has received what was sent before a probe.
func (s *Sessions) Confirm(one *Session, number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := one.rest
	if r == nil || r.probed == nil || number != r.number {
		return
	}
	to := r.probed
	r.probed = nil
	s.confirmed++
	one.advance(to, number, s.store.now())
}

// End notes that a connection of a session has ended, with the topics that it had joined.
// What the client has acknowledged is kept, or given to the connection that has the
// session now.
func (s *Sessions) End(one *Session, joined []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.conn == nil {
		return
	}
	now := s.store.now()
	for _, topic := range joined {
		one.lose(topic, now)
	}
	one.conn = nil
	if one.rest != nil {
		one.rest.probed = nil
	}
	one.forgetOld(now)
	s.stamp(one)
	switch heir := s.by.find(one.key); {
	case s.isLent(one):
		s.endLent(one)
	case heir != one:
		s.bequeath(one, heir)
	case !one.waits():
		s.part(one, now)
	}
}

// stamp gives a session that is about to be kept or given away its version, if there is anything to keep of it,
// and adds what only a late copy has. The caller holds mu.
func (s *Sessions) stamp(one *Session) {
	if one.rest != nil {
		s.version = max(s.version+1, uint64(s.store.now().UnixMilli()))
		late := one.rest.late
		one.rest.version, one.rest.givenTo, one.rest.late = s.version, 0, nil
		if late != nil {
			mergeSessions(one, late)
		}
		one.tidy()
	}
}

// Lend gives what a session has to its client's new connection, here or at another node,
// with the topics that its connection has joined. That goes on, because its client may still be there: a question
// may come late, or two connections have one name. What it acknowledges counts when it ends, unless the
// client is connected elsewhere on this node.
func (s *Sessions) Lend(one *Session, joined []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.conn == nil || s.isLent(one) {
		return
	}
	now := s.store.now()
	given := one.clone()
	for _, topic := range joined {
		given.lose(topic, now)
	}
	given.forgetOld(now)
	s.stamp(given)
	if s.lent == nil {
		s.lent = make(map[SessionKey][]*Session)
	}
	s.lent[one.key] = append(s.lent[one.key], one)
	switch heir := s.by.find(one.key); {
	case heir != one:
		s.bequeath(given, heir)
	case one.waits():
		s.by.put(given)
	default:
		s.part(given, now)
	}
	if s.waits[one.key] == nil {
		one.setWaits(false)
	}
}

func (s *Sessions) isLent(one *Session) bool { return slices.Contains(s.lent[one.key], one) }

// endLent notes the end of a connection whose session was lent. The caller holds mu.
func (s *Sessions) endLent(one *Session) {
	if s.lent[one.key] = slices.DeleteFunc(s.lent[one.key], func(o *Session) bool { return o == one }); len(s.lent[one.key]) == 0 {
		delete(s.lent, one.key)
	}
	if one.waits() {
		return
	}
	s.takeCopy(one)
	if here := s.by.find(one.key); here != nil && here.conn == nil && !here.waits() {
		s.hand(here)
	}
}

// bequeath gives what a session has to the connection that has taken its place, nil if that is
// gone too. The caller holds mu.
func (s *Sessions) bequeath(one, heir *Session) {
	knew := !one.waits()
	one.setWaits(false)
	if heir == nil {
		s.keep(one, s.store.now())
		return
	}
	w := s.waits[one.key]
	if w == nil {
		return
	}
	w.ending = max(0, w.ending-1)
	switch {
	case !heir.waits() || one.rest == nil:
	case knew:
		w.found = mergeSessions(w.found, one)
	default:
		heir.inherit(one)
	}
	s.settle(one.key)
}

// part gives a session without a connection to the node that has asked for it, or keeps it. The
// caller holds mu.
func (s *Sessions) part(one *Session, now time.Time) {
	s.by.remove(one.key)
	if one.rest != nil {
		for i := range one.rest.topics {
			one.rest.topics[i].known = true
		}
	}
	if to, ok := s.share.givesTo[one.key]; ok {
		if s.isUp(to) {
			s.give(one, to)
			return
		}
		delete(s.share.givesTo, one.key)
	}
	if s.keep(one, now) {
		s.hand(one)
	}
}

// Stats returns the figures of the sessions.
func (s *Sessions) Stats() SessionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionStats{Connected: s.by.count - int(s.kept.Load()), Kept: int(s.kept.Load()), Bytes: s.bytes, Dropped: s.dropped, Probes: s.probes, Confirmed: s.confirmed}
}

// keep keeps a session without a connection. It returns false if there is nothing to keep, or
// no memory. The caller holds mu.
func (s *Sessions) keep(one *Session, now time.Time) bool {
	if one.rest == nil || len(one.rest.topics) == 0 && one.rest.after == nil {
		return false
	}
	r := one.rest
	r.bytes = sessionBytes
	for _, t := range r.topics {
		r.bytes += int64(sessionTopicBytes + len(t.name))
	}
	r.ended, r.prev, r.next = now, s.newest, nil
	if s.newest != nil {
		s.newest.rest.next = one
	} else {
		s.oldest = one
	}
	s.newest = one
	s.by.put(one)
	s.kept.Add(1)
	s.bytes += r.bytes
	for s.bytes > s.most && s.oldest != nil {
		s.dropped++
		s.drop(s.oldest)
	}
	s.store.startSweeping()
	return s.by.find(one.key) == one
}

// unkeep removes a session from the list of those that are kept.
func (s *Sessions) unkeep(one *Session) {
	r := one.rest
	if r.prev != nil {
		r.prev.rest.next = r.next
	} else {
		s.oldest = r.next
	}
	if r.next != nil {
		r.next.rest.prev = r.prev
	} else {
		s.newest = r.prev
	}
	s.kept.Add(-1)
	s.bytes -= r.bytes
	r.prev, r.next, r.bytes = nil, nil, 0
}

func (s *Sessions) drop(one *Session) {
	s.unkeep(one)
	s.by.remove(one.key)
}

// sweep drops sessions that were kept for SessionAge.
func (s *Sessions) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.oldest != nil && now.Sub(s.oldest.rest.ended) > SessionAge {
		s.drop(s.oldest)
	}
	s.forgetPeers(now)
}

// clear drops all sessions that are kept.
func (s *Sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.oldest != nil {
		s.drop(s.oldest)
	}
}
