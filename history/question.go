package history

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// A session that has just connected may have to wait for what others know about it: for the
// answers of other nodes, for a session that one of them sends once it has ended a half-open
// connection, or for the end of such a connection here. Until then Session.waits is true.
//
// Several nodes may have a copy of the session, or one that was kept because a question was
// lost while the client was elsewhere. See mergeSessions.
//
// Messages between nodes may be lost. So a question is repeated, and a node that has given a
// session away keeps it for a while, to give it again: to the same node, or to another one if
// that node has died.
//
// The client may move on in the meantime. In long polling this is common: a node that is
// polled with the token of a dead node opens a connection, which phoenix.js drops at once to
// open another on any node. So a session that is waiting stays when its connection ends
// (neither connected nor kept), until it knows what to pass on. A node that sends a session
// without topics has found out that it knows nothing about it.

const (
	// askPause is the time between two questions: clients that come meanwhile are asked
	// about together. The first one is asked about at once, so that the question is on its
	// way before the client can go to another node.
	askPause = 2 * time.Millisecond
	// askWait is how long a node waits for the answers of the others, and askAgain when it
	// asks those again that have not answered, or have promised a session.
	askWait  = 200 * time.Millisecond
	askAgain = 50 * time.Millisecond
	// giveWait is how long a connection that is to give up its session may take, and how long
	// a node that has promised a session.
	giveWait = 2 * time.Second
	// givenFor is how long a session is kept that was given to another node: until that
	// has announced what its clients have, or is down.
	givenFor = 8 * time.Second
	// askAtOnce bounds the sessions in one question.
	askAtOnce = 1000
	// answerBytes is the size above which an answer is sent in several messages.
	answerBytes = 16 << 10
)

// question is sent to all other nodes.
type question struct {
	keys []SessionKey
	data []byte
	left []LogID // that have yet to answer
}

// sessionWait is what a session waits for.
type sessionWait struct {
	found  *Session // what was known of it here, and has come; nil: nothing
	ending int      // connections here that are to end
	asked  int      // questions that are not over
	owed   []LogID  // nodes that have promised the session
	silent []LogID  // nodes that did not answer, or did not keep their promise
}

// waitOf returns what a session waits for. The caller holds mu.
func (s *Sessions) waitOf(key SessionKey) *sessionWait {
	w := s.waits[key]
	if w == nil {
		if s.waits == nil {
			s.waits = make(map[SessionKey]*sessionWait)
		}
		w = new(sessionWait)
		s.waits[key] = w
	}
	return w
}

// awaitEnd makes a session wait for the end of an earlier connection here. The caller holds mu.
func (s *Sessions) awaitEnd(key SessionKey) {
	w := s.waitOf(key)
	w.ending++
	s.store.after(giveWait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waits[key] == w {
			w.ending = 0
			s.settle(key)
		}
	})
}

// settle ends the wait of a session if nothing is left that it could wait for. It takes over
// what is known. Topics that this does not have may have been joined at nodes that have not
// answered or have died: what these have announced counts for them. The caller holds mu.
func (s *Sessions) settle(key SessionKey) {
	w := s.waits[key]
	if w == nil || w.ending > 0 || w.asked > 0 || len(w.owed) > 0 {
		return
	}
	delete(s.waits, key)
	after := s.afterCrash(w.silent)
	for _, one := range append(slices.Clone(s.lent[key]), s.by.find(key)) {
		if one == nil || !one.waits() {
			continue
		}
		if w.found != nil {
			one.inherit(w.found)
		}
		one.fallBack(after, s.store.now().Add(SessionAge))
		s.endWait(one)
	}
}

// endWait notes that a session knows everything there is to know. The caller holds mu.
func (s *Sessions) endWait(one *Session) {
	one.setWaits(false)
	if one.conn == nil { // only that of s.by may have none
		s.part(one, s.store.now())
		return
	}
	s.announceOld(one)
}

// ask asks the other nodes about a session that has just connected. The caller holds mu.
func (s *Sessions) ask(key SessionKey) {
	s.waitOf(key).asked++
	s.share.next = append(s.share.next, key)
	if !s.share.pausing {
		s.sendQuestion()
	}
}

// sendQuestion asks the other nodes about all sessions that wait for it. The caller holds mu.
func (s *Sessions) sendQuestion() {
	h := &s.share
	n := min(len(h.next), askAtOnce)
	if h.pausing = n > 0; !h.pausing {
		return
	}
	s.store.after(askPause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sendQuestion()
	})
	q := &question{keys: h.next[:n:n]}
	h.next = h.next[n:]
	h.number++
	number := h.number
	q.data = s.appendQuestion(number, q.keys)
	h.asked[number] = q
	for _, log := range s.peersInOrder() {
		if h.peers[log].up {
			q.left = append(q.left, log)
		}
	}
	s.pose(number, time.Duration(0))
}

// appendQuestion writes a question. It names the nodes that this one knows, because others may have died unnoticed
// before it started. The caller holds mu.
func (s *Sessions) appendQuestion(number uint64, keys []SessionKey) []byte {
	data := binary.AppendUvarint([]byte{messageAsk}, number)
	var known []byte
	for _, log := range s.peersInOrder() {
		if p := s.share.peers[log]; p.left || p.stable != nil {
			known = binary.BigEndian.AppendUint64(known, uint64(log))
		}
	}
	data = append(binary.AppendUvarint(data, uint64(len(known)/logBytes)), known...)
	for _, key := range keys {
		data = append(data, key[:]...)
	}
	return data
}

// pose asks those that have not answered, now and again until the question is over. The
// caller holds mu.
func (s *Sessions) pose(number uint64, waited time.Duration) {
	q := s.share.asked[number]
	switch {
	case q == nil:
		return
	case len(q.left) == 0, waited >= askWait:
		s.endQuestion(number)
		return
	}
	for _, log := range q.left {
		s.share.link.Send(log, q.data)
	}
	s.store.after(askAgain, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pose(number, waited+askAgain)
	})
}

// peersInOrder returns the other nodes in an order that simulations can repeat.
func (s *Sessions) peersInOrder() (logs []LogID) {
	for log := range s.share.peers {
		logs = append(logs, log)
	}
	slices.Sort(logs)
	return logs
}

// endQuestion no longer waits for answers to a question. The caller holds mu.
func (s *Sessions) endQuestion(number uint64) {
	q := s.share.asked[number]
	if q == nil {
		return
	}
	delete(s.share.asked, number)
	var promised []SessionKey
	for _, key := range q.keys {
		w := s.waits[key]
		w.asked--
		w.silent = append(w.silent, q.left...)
		if len(w.owed) > 0 {
			promised = append(promised, key)
		}
		s.settle(key)
	}
	if len(promised) > 0 {
		s.store.after(askAgain, func() { s.remind(promised, askAgain) })
	}
}

// remind asks again for sessions that other nodes have promised: what they have sent may be lost. After
// giveWait it no longer waits for them.
func (s *Sessions) remind(promised []SessionKey, waited time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asks := make(map[LogID][]SessionKey)
	promised = slices.DeleteFunc(promised, func(key SessionKey) bool {
		w := s.waits[key]
		if w == nil || len(w.owed) == 0 {
			return true
		}
		if waited >= giveWait {
			w.silent, w.owed = append(w.silent, w.owed...), nil
			s.settle(key)
			return true
		}
		for _, log := range w.owed {
			asks[log] = append(asks[log], key)
		}
		return false
	})
	for _, log := range slices.Sorted(maps.Keys(asks)) {
		s.share.link.Send(log, s.appendQuestion(noQuestion, asks[log]))
	}
	if len(promised) > 0 {
		s.store.after(askAgain, func() { s.remind(promised, waited+askAgain) })
	}
}

// noQuestion is the number of a question that repeats a part of another.
const noQuestion = 0

// Messages between nodes.
const (
	messageAsk    byte = iota + 1 // number, count { log(8) }* { key(16) }*: the nodes whose sessions' position is known, or that have left
	messageAnswer                 // number, count { log(8) position }*, count { key(16) }* { session }*: what the other did not know of nodes, and the keys of sessions that follow later, in messageGive
	messageGive                   // { session }*; one that does not fit is an entry of the log
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
		return s.takeSessions(from, body)
	}
	return nil // of a later version
}

// answer answers a question.
func (s *Sessions) answer(from LogID, body []byte) error {
	number, known, keys, err := readQuestion(body)
	if err != nil {
		return err
	}
	var later []SessionConn
	a := sessionAnswer{to: from}
	s.mu.Lock()
	for ; len(keys) > 0; keys = keys[len(SessionKey{}):] {
		key := SessionKey(keys)
		switch here := s.by.find(key); {
		case here == nil:
		case here.conn != nil || here.waits():
			if to, ok := s.share.givesTo[key]; here.conn != nil && (!ok || to != from) {
				later = append(later, here.conn)
			}
			s.share.givesTo[key] = from
			a.pending = append(a.pending, key[:]...)
		case s.store.now().Sub(here.rest.ended) > SessionAge:
		default:
			s.addKept(&a, here)
		}
	}
	s.sendAnswer(&a, number, known)
	s.mu.Unlock()
	for _, conn := range later {
		conn.GiveUp()
	}
	return nil
}

// sessionAnswer is the part of an answer that is about sessions.
type sessionAnswer struct {
	to      LogID
	pending []byte     // keys of sessions that follow later
	given   []byte     // sessions
	gone    []*Session // that are given away now
	large   []*Session // of these, that go by the log, behind the answer
}

// sendAnswer answers a question of a node that knows some others. The caller holds mu.
func (s *Sessions) sendAnswer(a *sessionAnswer, number uint64, known []LogID) {
	data := binary.AppendUvarint([]byte{messageAnswer}, number)
	data = s.appendStrangers(data, append(known, a.to))
	data = binary.AppendUvarint(data, uint64(len(a.pending)/len(SessionKey{})))
	s.share.link.Send(a.to, append(append(data, a.pending...), a.given...))
	for _, one := range a.large {
		s.hand(one)
	}
	for _, one := range a.gone {
		one.rest.givenTo = a.to
	}
	s.dropLater(a.gone)
}

// addKept adds a session that is kept to an answer. One that does not fit into a message goes by the log, once. The
// caller holds mu.
func (s *Sessions) addKept(a *sessionAnswer, one *Session) {
	data := s.appendSession(nil, one, a.to)
	if len(a.given) > 0 && len(a.given)+len(data) > answerBytes {
		s.share.link.Send(a.to, append([]byte{messageGive}, a.given...))
		a.given = nil
	}
	first := one.rest.givenTo == 0
	switch {
	case len(data) <= answerBytes:
		a.given = append(a.given, data...)
	case s.share.link.Send(a.to, append([]byte{messageGive}, data...)):
	default:
		a.pending = append(a.pending, one.key[:]...)
		if first {
			a.large = append(a.large, one)
		}
	}
	if first {
		a.gone = append(a.gone, one)
	}
}

// logBytes is the length of a LogID in a question.
const logBytes = 8

// readQuestion reads a question: the nodes that the asking one knows, and the keys.
func readQuestion(b []byte) (number uint64, known []LogID, keys []byte, err error) {
	number, n := binary.Uvarint(b)
	b = b[max(n, 0):]
	count, m := binary.Uvarint(b)
	if b = b[max(m, 0):]; n <= 0 || m <= 0 || count > uint64(len(b)/logBytes) {
		return 0, nil, nil, records.ErrMalformed
	}
	for range count {
		known = append(known, LogID(binary.BigEndian.Uint64(b)))
		b = b[logBytes:]
	}
	if len(b)%len(SessionKey{}) != 0 {
		return 0, nil, nil, records.ErrMalformed
	}
	return number, known, b, nil
}

// appendStrangers writes what nodes have announced here that another does not know. They may have died before it
// started, although nobody has noticed yet. The caller holds mu.
func (s *Sessions) appendStrangers(b []byte, known []LogID) []byte {
	strangers := slices.DeleteFunc(s.peersInOrder(), func(log LogID) bool {
		p := s.share.peers[log]
		return slices.Contains(known, log) || p.left || p.hearsay || p.stable == nil
	})
	b = binary.AppendUvarint(b, uint64(len(strangers)))
	for _, log := range strangers {
		b = appendPosition(binary.BigEndian.AppendUint64(b, uint64(log)), *s.share.peers[log].stable)
	}
	return b
}

// takeStrangers notes what the answer of another node says of nodes that this one does not know: they count as dead
// until they are heard. The caller holds mu.
func (s *Sessions) takeStrangers(b []byte) (rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, records.ErrMalformed
	}
	b = b[n:]
	for range count {
		if len(b) < logBytes {
			return nil, records.ErrMalformed
		}
		log := LogID(binary.BigEndian.Uint64(b))
		stable, rest, err := readPosition(b[logBytes:])
		if err != nil {
			return nil, err
		}
		b = rest
		if p := s.peer(log); p.stable == nil {
			p.stable, p.hearsay = &stable, true
		}
	}
	return b, nil
}

// dropLater drops sessions that were given away, after givenFor, unless the node that has got them is gone by then.
// The caller holds mu.
func (s *Sessions) dropLater(given []*Session) {
	if len(given) == 0 {
		return
	}
	s.store.after(givenFor, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, one := range given {
			switch {
			case s.by.find(one.key) != one || one.conn != nil || one.waits():
			case s.isUp(one.rest.givenTo):
				s.drop(one)
			default:
				one.rest.givenTo = 0
			}
		}
	})
}

// give sends a session to the node that has asked for it. The caller holds mu.
func (s *Sessions) give(one *Session, to LogID) {
	delete(s.share.givesTo, one.key)
	if !s.share.link.Send(to, s.appendSession([]byte{messageGive}, one, to)) {
		s.hand(one)
	}
	if s.keep(one, s.store.now()) {
		one.rest.givenTo = to
		s.dropLater([]*Session{one})
	}
}

// takeAnswer notes the answer of another node.
func (s *Sessions) takeAnswer(from LogID, body []byte) error {
	number, n := binary.Uvarint(body)
	if n <= 0 {
		return records.ErrMalformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.peers == nil {
		return nil
	}
	body, err := s.takeStrangers(body[n:])
	if err != nil {
		return err
	}
	count, n := binary.Uvarint(body)
	keys := body[max(n, 0):]
	if n <= 0 || count > uint64(len(keys)/len(SessionKey{})) {
		return records.ErrMalformed
	}
	s.peer(from).answered = true
	size := int(count) * len(SessionKey{})
	q := s.share.asked[number]
	if q == nil || !slices.Contains(q.left, from) {
		return s.takeSessions(from, keys[size:])
	}
	for promised := keys[:size]; len(promised) > 0; promised = promised[len(SessionKey{}):] {
		if key := SessionKey(promised); slices.Contains(q.keys, key) {
			w := s.waits[key]
			w.owed = append(w.owed, from)
		}
	}
	err = s.takeSessions(from, keys[size:])
	if q.left = slices.DeleteFunc(q.left, func(log LogID) bool { return log == from }); len(q.left) == 0 {
		s.endQuestion(number)
	}
	return err
}

// takeSessions takes sessions that another node gives away, for clients that have come here.
// The caller holds mu.
func (s *Sessions) takeSessions(from LogID, b []byte) error {
	for len(b) > 0 {
		one, rest, err := s.readSession(b)
		if err != nil {
			return err
		}
		b = rest
		s.takeFrom(from, one)
	}
	return nil
}

// takeFrom takes a session of another node, which may have promised it. The caller holds mu.
func (s *Sessions) takeFrom(from LogID, one *Session) {
	s.takeCopy(one)
	if w := s.waits[one.key]; w != nil {
		w.owed = slices.DeleteFunc(w.owed, func(log LogID) bool { return log == from })
		s.settle(one.key)
	}
}
