package history

import (
	"encoding/binary"
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
}

const (
	// askWithin is how long clients that come at the same time wait to be asked about
	// together.
	askWithin = 2 * time.Millisecond
	// askWait is how long a node waits for the answers of the others.
	askWait = 200 * time.Millisecond
	// askAtOnce bounds the sessions in one question.
	askAtOnce = 1000
	// answerBytes is the size above which an answer is sent in several messages.
	answerBytes = 16 << 10
)

// sessionPeer is another node.
type sessionPeer struct {
	up     bool
	left   bool      // it has said goodbye, and has handed over its sessions before
	down   time.Time // since when it is not up
	stable *Position // what its clients have acknowledged; nil: it has not said
}

// question is sent to all other nodes.
type question struct {
	sessions []*Session
	left     []LogID // that have yet to answer
}

// shareSessions is the part of Sessions that is for a cluster. All of it is guarded by
// Sessions.mu.
type shareSessions struct {
	link     SessionLink // nil: there are no other nodes
	peers    map[LogID]*sessionPeer
	next     []*Session // to be asked about
	number   uint64     // of the last question
	asked    map[uint64]*question
	givesTo  map[SessionKey]LogID // the node that gets a session when its connection has ended
	handover bool                 // the node stops: what is kept is handed over
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
	if s.share.handover && one.shared {
		s.share.link.Append(appendSession(nil, one))
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
	now := s.store.now()
	switch here := s.by[one.key]; {
	case here == nil:
		one.copied = true
		s.keep(one, now)
	case here.conn == nil:
		s.drop(here)
		one.copied = true
		s.keep(one, now)
	case here.waits:
		here.inherit(one)
		here.waits = false
	}
}

// ask asks the other nodes about a session that has just connected. The caller holds mu.
func (s *Sessions) ask(one *Session) {
	h := &s.share
	if h.next = append(h.next, one); len(h.next) == 1 {
		s.store.after(askWithin, s.sendQuestion)
	}
}

// sendQuestion asks the other nodes about all sessions that wait for it.
func (s *Sessions) sendQuestion() {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.share
	n := min(len(h.next), askAtOnce)
	if n == 0 {
		return
	}
	q := &question{sessions: h.next[:n:n]}
	if h.next = h.next[n:]; len(h.next) > 0 {
		s.store.after(askWithin, s.sendQuestion)
	}
	h.number++
	number, data := h.number, binary.AppendUvarint([]byte{messageAsk}, h.number)
	for _, one := range q.sessions {
		data = append(data, one.key[:]...)
	}
	for _, log := range s.peersInOrder() {
		if h.peers[log].up {
			q.left = append(q.left, log)
			h.link.Send(log, data)
		}
	}
	if len(q.left) == 0 {
		s.settleAll(q)
		return
	}
	h.asked[number] = q
	s.store.after(askWait, func() { s.endQuestion(number) })
}

// peersInOrder returns the other nodes in an order that simulations can repeat.
func (s *Sessions) peersInOrder() (logs []LogID) {
	for log := range s.share.peers {
		logs = append(logs, log)
	}
	slices.Sort(logs)
	return logs
}

// endQuestion gives up waiting for answers.
func (s *Sessions) endQuestion(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.share.asked[number]; q != nil {
		delete(s.share.asked, number)
		s.settleAll(q)
	}
}

// settleAll ends the wait of the sessions of a question, which nobody knows. If nodes have not
// answered or have died, what these have announced counts. The caller holds mu.
func (s *Sessions) settleAll(q *question) {
	after := s.afterCrash(q.left)
	for _, one := range q.sessions {
		if one.waits {
			one.waits = false
			one.fallBack(after, s.store.now())
		}
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
func (one *Session) fallBack(after *Position, now time.Time) {
	if after == nil {
		return
	}
	if one.rest == nil {
		one.rest = new(sessionRest)
	}
	r := one.rest
	r.after, r.afterUntil = after, now.Add(SessionAge)
	for i := range r.topics {
		if t := &r.topics[i]; !t.known && t.probe == 0 {
			t.pos, t.known = after, true
		}
	}
}

// Messages between nodes.
const (
	messageAsk    byte = iota + 1 // number { key(16) }*
	messageAnswer                 // number count { key(16) }* { session }*: the keys of sessions that follow later, in messageGive
	messageGive                   // { session }*
)

// Receive handles a message of another node.
func (s *Sessions) Receive(from LogID, data []byte) error {
	if len(data) == 0 {
		return records.ErrMalformed
	}
	switch body := data[1:]; data[0] {
	case messageAsk:
		return s.answer(from, body)
	case messageAnswer:
		return s.takeAnswer(from, body)
	case messageGive:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.takeSessions(body)
	}
	return nil // of a later version
}

// answer answers a question.
func (s *Sessions) answer(from LogID, body []byte) error {
	number, n := binary.Uvarint(body)
	if n <= 0 || (len(body)-n)%len(SessionKey{}) != 0 {
		return records.ErrMalformed
	}
	var later []SessionConn
	var pending, given []byte
	s.mu.Lock()
	for keys := body[n:]; len(keys) > 0; keys = keys[len(SessionKey{}):] {
		key := SessionKey(keys)
		switch here := s.by[key]; {
		case here == nil:
		case here.conn == nil:
			s.drop(here)
			if given = appendSession(given, here); len(given) > answerBytes {
				s.share.link.Send(from, append([]byte{messageGive}, given...))
				given = nil
			}
		default:
			s.share.givesTo[key] = from
			pending = append(pending, key[:]...)
			later = append(later, here.conn)
		}
	}
	data := binary.AppendUvarint([]byte{messageAnswer}, number)
	data = binary.AppendUvarint(data, uint64(len(later)))
	s.share.link.Send(from, append(append(data, pending...), given...))
	s.mu.Unlock()
	for _, conn := range later {
		conn.GiveUp()
	}
	return nil
}

// give sends a session to the node that has asked for it. The caller holds mu.
func (s *Sessions) give(one *Session, to LogID) {
	delete(s.share.givesTo, one.key)
	s.share.link.Send(to, appendSession([]byte{messageGive}, one))
}

// takeAnswer notes the answer of another node.
func (s *Sessions) takeAnswer(from LogID, body []byte) error {
	number, n := binary.Uvarint(body)
	if n <= 0 {
		return records.ErrMalformed
	}
	count, m := binary.Uvarint(body[n:])
	keys := body[n+max(m, 0):]
	if m <= 0 || count > uint64(len(keys)/len(SessionKey{})) {
		return records.ErrMalformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int(count) * len(SessionKey{})
	if err := s.takeSessions(keys[size:]); err != nil {
		return err
	}
	q := s.share.asked[number]
	if q == nil || !slices.Contains(q.left, from) {
		return nil
	}
	for keys = keys[:size]; len(keys) > 0; keys = keys[len(SessionKey{}):] { // these wait for what follows
		key := SessionKey(keys)
		q.sessions = slices.DeleteFunc(q.sessions, func(one *Session) bool { return one.key == key })
	}
	if q.left = slices.DeleteFunc(q.left, func(log LogID) bool { return log == from }); len(q.left) == 0 {
		delete(s.share.asked, number)
		s.settleAll(q)
	}
	return nil
}

// takeSessions takes sessions that another node gives away, for clients that have come here.
// The caller holds mu.
func (s *Sessions) takeSessions(b []byte) error {
	for len(b) > 0 {
		one, rest, err := s.readSession(b)
		if err != nil {
			return err
		}
		b = rest
		if here := s.by[one.key]; here == nil || here.conn == nil || here.waits { // the client may be gone already
			s.takeCopy(one)
		}
	}
	return nil
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

// Stable returns what to announce to the other nodes: what all connected clients have
// acknowledged.
func (s *Sessions) Stable() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.shared == nil {
		return nil
	}
	now := s.store.shared.position(s.store.now())
	stable, last := &now, (*Position)(nil)
	take := func(p *Position) {
		if p != nil && p != last {
			stable, last = meet(stable, p), p
		}
	}
	for _, one := range s.by {
		if one.conn == nil || !one.shared {
			continue
		}
		take(one.acked)
		if one.rest != nil {
			for i := range one.rest.topics {
				take(one.rest.topics[i].pos)
			}
		}
	}
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
		part := []byte{0}
		if one.shared {
			part[0] = 1
		}
		if part = appendSession(part, one); len(part) <= filePart && (!one.shared || !handed) {
			yield(part)
		}
	}
}

// load keeps a session that was saved.
func (s *Sessions) load(part []byte) error {
	if len(part) == 0 {
		return records.ErrMalformed
	}
	one, rest, err := s.readSession(part[1:])
	if err != nil || len(rest) > 0 {
		return records.ErrMalformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.shared = part[0] == 1; s.by[one.key] == nil {
		s.keep(one, s.store.now())
	}
	return nil
}

// A position is seconds count { log(8) number }*. A session is
//
//	key(16) count { position }* count { len topic index }*
//
// where index is that of the topic's position.

func appendPosition(b []byte, p Position) []byte {
	b = binary.AppendUvarint(b, uint64(p.at))
	b = binary.AppendUvarint(b, uint64(len(p.marks)))
	return appendMarks(b, p.marks)
}

func readPosition(b []byte) (p Position, rest []byte, err error) {
	var numbers [2]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return p, nil, records.ErrMalformed
		}
		numbers[i], b = v, b[n:]
	}
	if int64(numbers[0]) < 0 || numbers[1] > uint64(len(b)/9) {
		return p, nil, records.ErrMalformed
	}
	p.at = int64(numbers[0])
	for range numbers[1] {
		if len(b) < 9 {
			return p, nil, records.ErrMalformed
		}
		number, n := binary.Uvarint(b[8:])
		if n <= 0 {
			return p, nil, records.ErrMalformed
		}
		p.marks.raise(LogID(binary.BigEndian.Uint64(b)), number)
		b = b[8+n:]
	}
	return p, b, nil
}

// appendSession writes a session without a connection.
func appendSession(b []byte, one *Session) []byte {
	var positions []*Position
	var topics []byte
	count := 0
	if one.rest != nil {
		count = len(one.rest.topics)
		for i := range one.rest.topics {
			t := &one.rest.topics[i]
			at := slices.Index(positions, t.pos)
			if at < 0 {
				at = len(positions)
				positions = append(positions, t.pos)
			}
			topics = binary.AppendUvarint(records.AppendText(topics, t.name), uint64(at))
		}
	}
	b = binary.AppendUvarint(append(b, one.key[:]...), uint64(len(positions)))
	for _, p := range positions {
		b = appendPosition(b, *p)
	}
	return append(binary.AppendUvarint(b, uint64(count)), topics...)
}

// readSession reads a session, whose topics have just ended.
func (s *Sessions) readSession(b []byte) (one *Session, rest []byte, err error) {
	one = &Session{shared: true}
	if len(b) < len(one.key) {
		return nil, nil, records.ErrMalformed
	}
	copy(one.key[:], b)
	count, n := binary.Uvarint(b[len(one.key):])
	if n <= 0 || count > uint64(len(b)) {
		return nil, nil, records.ErrMalformed
	}
	b = b[len(one.key)+n:]
	positions := make([]*Position, count)
	for i := range positions {
		var p Position
		if p, b, err = readPosition(b); err != nil {
			return nil, nil, err
		}
		positions[i] = &p
	}
	if count, n = binary.Uvarint(b); n <= 0 || count > maxSessionTopics {
		return nil, nil, records.ErrMalformed
	}
	b = b[n:]
	now := s.store.now().Unix()
	for range count {
		name, behind, err := records.CutText(b)
		if err != nil {
			return nil, nil, err
		}
		at, n := binary.Uvarint(behind)
		if n <= 0 || at >= uint64(len(positions)) {
			return nil, nil, records.ErrMalformed
		}
		b = behind[n:]
		one.add(sessionTopic{name: string(name), pos: positions[at], ended: now, known: true})
	}
	return one, b, nil
}
