package history

import (
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// Sessions of spaces that all nodes have may move between nodes:
//
//   - A node that stops appends an entry for each session that it keeps (HandOver). All
//     nodes keep a copy, within the bounds of kept sessions.
//   - A node with a client whose session it does not know asks the others. One that keeps
//     the session gives it away; one that still has a connection of it, which must be
//     half-open, has the connection give it up first. A copy is dropped, so it must not
//     be found later.
//   - Each node announces what all its connected clients have acknowledged. If a node does
//     not answer, or has died less than SessionAge ago, a session that nobody knows may have been
//     there, and its client is sent what came after that.

// SessionLink takes messages about sessions to the stores of other nodes. Its methods must not
// block.
type SessionLink interface {
	// Send sends data to another node, which calls [Sessions.Receive] with it. It may be
	// lost.
	Send(to LogID, data []byte)
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
	left   bool      // it has said goodbye, and has handed over its sessions before
	down   time.Time // since when it is not up
	stable *Position // what its clients have acknowledged; nil: it has not said
}

// shareSessions is the part of Sessions that is for a cluster. All of it is guarded by
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

// Share has sessions move between the nodes of a cluster. Call it before the first one
// connects.
func (s *Sessions) Share(link SessionLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share = shareSessions{
		link: link, peers: make(map[LogID]*sessionPeer), asked: make(map[uint64]*question), givesTo: make(map[SessionKey]LogID),
	}
}

// HandOver gives all sessions without a connection to the other nodes, and from now on each
// whose connection ends. Call it when the node begins to stop.
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

// hand appends an entry for a kept session, if the node stops. The caller holds mu.
func (s *Sessions) hand(one *Session) {
	if s.share.handover && one.key.shared() {
		s.share.link.Append(s.appendSession(nil, one))
	}
}

// Apply applies an entry of another node.
func (s *Sessions) Apply(entry []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, rest, err := s.readSession(entry)
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	s.takeCopy(one)
	return nil
}

// takeCopy takes a session that another node has handed over or given away. The caller
// holds mu.
func (s *Sessions) takeCopy(one *Session) {
	if one.rest == nil {
		return
	}
	now := s.store.now()
	switch here := s.by.find(one.key); {
	case here == nil:
		one.more().copied = true
		s.keep(one, now)
	case here.waits():
		here.inherit(one)
		if len(one.rest.topics) > 0 { // else it is what a node falls back to, and others may know more
			s.endWait(here)
		}
	case here.conn == nil && len(one.rest.topics) > 0:
		s.drop(here)
		one.more().copied = true
		s.keep(one, now)
	}
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

// fallBack has topics that the session does not know begin at a position.
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
		if t := &r.topics[i]; !t.known && t.probe == 0 {
			t.pos, t.known = r.after, true
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

// Down notes that another node is silent, or has said goodbye (left).
func (s *Sessions) Down(log LogID, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.peers != nil {
		p := s.peer(log)
		p.up, p.left, p.down = false, left, s.store.now()
		s.forgetPeers(p.down)
	}
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
	for one := range s.by.all() {
		if !one.key.shared() || one.conn == nil && (one.rest == nil || now.Sub(one.rest.ended) > stableAfter) {
			continue
		}
		take(one.acked)
		if one.rest != nil {
			for i := range one.rest.topics {
				take(one.rest.topics[i].pos)
			}
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
		s.peer(log).stable = &p
	}
	return nil
}

// meet returns what both positions include. A nil position includes everything.
func meet(a, b *Position) *Position {
	if a == nil || b == nil || a.Equal(*b) {
		if a == nil {
			return b
		}
		return a
	}
	m := &Position{at: min(a.at, b.at)}
	for _, one := range a.marks {
		if b.marks.has(one.log) {
			m.marks = append(m.marks, mark{one.log, min(one.number, b.marks.of(one.log))})
		}
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
		if part := s.appendSession(nil, one); len(part) <= filePart && (!handed || !one.key.shared()) {
			yield(part)
		}
	}
}

// load keeps a session that was saved.
func (s *Sessions) load(part []byte) error {
	one, rest, err := s.readSession(part)
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by.find(one.key) == nil {
		s.keep(one, s.store.now())
	}
	return nil
}
