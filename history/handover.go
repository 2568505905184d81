package history

import (
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// Sessions of spaces that are on all nodes can move between nodes:
//
//   - When a client disconnects, its node appends an entry for the session. All nodes keep a
//     copy, within the bounds of kept sessions, so that it survives the node.
//   - A node whose client names a session that it does not know asks the others. A node that
//     keeps the session gives it away. A node that still has a connection of the session,
//     which must be half-open, makes the connection give it up first. See question.
//   - Each node announces a position that all its connected clients have acknowledged. If a
//     node does not answer, or has died less than SessionAge ago, a session that no node knows
//     may have been there, and its client is sent what came after that position.

// SessionLink sends messages about sessions to the stores of other nodes. Its methods must not
// block.
type SessionLink interface {
	// Send sends data to another node, which calls [Sessions.Receive] with it. It may be
	// lost. It returns false if the data is too large for one message.
	Send(to LogID, data []byte) (fits bool)
	// Append appends an entry to the log of this node, with which all others call
	// [Sessions.Apply].
	Append(entry []byte)
	// Announce tells all other nodes what [Sessions.Stable] returns, without waiting for
	// the next time. It is not called under a lock.
	Announce()
}

// sessionPeer is another node.
type sessionPeer struct {
	up     bool
	left   bool      // it has said goodbye, and its sessions are here
	down   time.Time // since when it is not up
	stable *Position // what its clients have acknowledged; nil: it has not said

	hearsay  bool // another node has said stable
	answered bool // it has told what it knows of nodes that this one does not
}

// shareSessions is the part of Sessions that clusters need. All of it is guarded by
// Sessions.mu.
type shareSessions struct {
	link     SessionLink // nil: there are no other nodes
	peers    map[LogID]*sessionPeer
	next     []SessionKey // to be asked about
	pausing  bool         // a question was sent just now: see askPause
	number   uint64       // of the last question
	asked    map[uint64]*question
	givesTo  map[SessionKey]LogID // the node that gets a session when its connection has ended
	handover bool                 // the node stops: what is kept is handed over

	announced  *Position // by Stable; nil: nothing yet
	announcing bool      // Announce is about to be called
}

// Share lets sessions move between the nodes of a cluster. Call it before the first session
// connects.
func (s *Sessions) Share(link SessionLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share = shareSessions{
		link: link, peers: make(map[LogID]*sessionPeer), asked: make(map[uint64]*question), givesTo: make(map[SessionKey]LogID),
	}
}

// HandOver sends all sessions without a connection to the other nodes once more, for nodes
// that have started since. Call it when the node begins to stop.
func (s *Sessions) HandOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.link == nil {
		return
	}
	s.share.handover = true
	for one := s.oldest; one != nil; one = one.rest.next {
		s.hand(one)
	}
}

// hand appends an entry for a session that is kept. The caller holds mu.
func (s *Sessions) hand(one *Session) {
	if s.asks(one) {
		s.share.link.Append(s.appendSession(nil, one, 0))
	}
}

// Apply applies an entry of another node's log.
func (s *Sessions) Apply(log LogID, entry []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, rest, err := s.readSession(entry)
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	s.takeFrom(log, one)
	return nil
}

// takeCopy takes a session that another node has handed over or given away. If there is a connection here, it may
// be an old one, which its client has given up: the copy waits for its end. The caller holds mu.
func (s *Sessions) takeCopy(one *Session) {
	if one.rest == nil {
		return
	}
	now := s.store.now()
	switch here := s.by.find(one.key); {
	case here == nil:
		s.keep(one, now)
	case here.waits():
		w := s.waitOf(one.key)
		w.found = mergeSessions(w.found, one)
	case here.conn == nil:
		s.drop(here)
		s.keep(mergeSessions(here, one), now)
	case one.rest.givenTo == 0:
		r := here.more()
		r.late = mergeSessions(r.late, one)
	}
}

// mergeSessions merges two copies of a session; a may be nil. The positions of the later version count, and topics
// that only the other copy has are kept, because versions come from the clocks of different nodes. An old copy
// causes repeated messages, but no lost ones. A copy that was given away is used only if the other was given away
// too. A guessed position counts only as far as the other copy's position: the client may have less than guessed.
func mergeSessions(a, b *Session) *Session {
	if a == nil {
		return b
	}
	if aGiven, bGiven := a.rest.givenTo != 0, b.rest.givenTo != 0; aGiven && !bGiven || aGiven == bGiven && b.rest.version > a.rest.version {
		a, b = b, a
	}
	used := b.rest.givenTo == 0 || a.rest.givenTo != 0
	for _, t := range b.rest.topics {
		switch mine := a.find(t.name); {
		case mine == nil && used:
			a.add(t)
		case mine != nil && mine.guessed:
			mine.pos, mine.guessed = meet(t.pos, mine.pos), t.guessed
		}
	}
	if used {
		a.fallBack(b.rest.after, b.rest.afterUntil)
	}
	return a
}

// afterCrash returns what clients of nodes that may have died have acknowledged, nil if no node
// has. The caller holds mu.
func (s *Sessions) afterCrash(silent []LogID) (after *Position) {
	now := s.store.now()
	for _, log := range s.peersInOrder() {
		p := s.share.peers[log]
		died := !p.up && !p.left && now.Sub(p.down) <= SessionAge
		if p.stable != nil && (died || slices.Contains(silent, log)) {
			after = meet(after, p.stable)
		}
	}
	return after
}

// fallBack has topics that the session does not know, or whose position is guessed, begin at a position.
func (one *Session) fallBack(after *Position, until time.Time) {
	if after == nil {
		return
	}
	r := one.more()
	r.after = meet(r.after, after)
	if r.afterUntil.Before(until) {
		r.afterUntil = until
	}
	for i := range r.topics {
		switch t := &r.topics[i]; {
		case t.probe != 0:
		case !t.known:
			t.pos, t.known, t.guessed = r.after, true, false
		case t.guessed:
			t.pos, t.guessed = meet(r.after, t.pos), false
		}
	}
}

// Up notes that another node is heard.
func (s *Sessions) Up(log LogID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.peers != nil {
		s.peer(log).up = true
	}
}

// Down notes that another node is silent, or has said goodbye and everything that it has handed over
// is here (left).
func (s *Sessions) Down(log LogID, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.peers != nil {
		p := s.peer(log)
		p.up, p.left, p.down = false, left, s.store.now()
		s.forgetPeers(p.down)
	}
}

// isUp reports whether another node is heard. The caller holds mu.
func (s *Sessions) isUp(log LogID) bool {
	p := s.share.peers[log]
	return p != nil && p.up
}

// peer returns another node, which it makes known. The caller holds mu.
func (s *Sessions) peer(log LogID) *sessionPeer {
	p := s.share.peers[log]
	if p == nil {
		p = &sessionPeer{down: s.store.now()}
		s.share.peers[log] = p
	}
	return p
}

// forgetPeers forgets nodes that died long ago. The caller holds mu.
func (s *Sessions) forgetPeers(now time.Time) {
	for log, p := range s.share.peers {
		if !p.up && now.Sub(p.down) > SessionAge {
			delete(s.share.peers, log)
		}
	}
}

const (
	// stableAfter is how long a session without a connection counts in Stable. If one
	// counted for as long as it is kept, each page that is closed would hold all back.
	stableAfter = 10 * time.Second
	// announceWithin is how soon Stable is announced when it has gone back.
	announceWithin = 100 * time.Millisecond
)

// announceOld announces Stable soon if a session that has come here is older than what was
// announced: if this node died, the client would be sent too little. The caller holds mu.
func (s *Sessions) announceOld(one *Session) {
	h := &s.share
	if h.announced == nil || h.announcing || one.rest == nil || !slices.ContainsFunc(one.rest.topics, func(t sessionTopic) bool { return !t.pos.includes(*h.announced) }) {
		return
	}
	h.announcing = true
	s.store.after(announceWithin, func() {
		s.mu.Lock()
		h.announcing = false
		s.mu.Unlock()
		h.link.Announce()
	})
}

// Stable returns what to announce to the other nodes: what all clients have acknowledged
// that are connected or have lost their connection just now.
func (s *Sessions) Stable() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.shared == nil {
		return nil
	}
	now := s.store.now()
	all := s.store.shared.position(now)
	stable, last := &all, (*Position)(nil)
	take := func(p *Position) {
		if p != nil && p != last {
			stable, last = meet(stable, p), p
		}
	}
	count := func(one *Session) {
		if !one.key.shared() || one.conn == nil && (one.rest == nil || now.Sub(one.rest.ended) > stableAfter) {
			return
		}
		take(one.acked)
		if one.rest != nil {
			for i := range one.rest.topics {
				take(one.rest.topics[i].pos)
			}
		}
	}
	for one := range s.by.all() {
		count(one)
	}
	for _, list := range s.lent {
		for _, one := range list {
			count(one)
		}
	}
	s.share.announced = stable
	return appendPosition(nil, *stable)
}

// Announced notes what another node has announced.
func (s *Sessions) Announced(log LogID, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	p, rest, err := readPosition(data)
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.peers != nil {
		peer := s.peer(log)
		if peer.stable, peer.hearsay = &p, false; !peer.answered {
			s.share.link.Send(log, s.appendQuestion(noQuestion, nil))
		}
	}
	return nil
}

// meet returns what both positions include. A nil position includes everything. The logs of a
// remain, because a position without any is that of a client that wants nothing in particular.
func meet(a, b *Position) *Position {
	if a == nil || b == nil || a.Equal(*b) {
		if a == nil {
			return b
		}
		return a
	}
	m := &Position{at: min(a.at, b.at)}
	for _, one := range a.marks {
		m.marks = append(m.marks, mark{one.log, min(one.number, b.marks.of(one.log))})
	}
	return m
}

// save yields the sessions that are kept and that no other node has.
func (s *Sessions) save(yield func(part []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	handed := false
	for _, p := range s.share.peers {
		handed = handed || s.share.handover && p.up
	}
	for one := s.oldest; one != nil; one = one.rest.next {
		if part := s.appendSession(nil, one, 0); len(part) <= filePart && (!handed || !one.key.shared()) {
			yield(part)
		}
	}
}

// load keeps a session that was saved.
func (s *Sessions) load(part []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, rest, err := s.readSession(part)
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	if s.by.find(one.key) == nil {
		s.keep(one, s.store.now())
	}
	return nil
}
