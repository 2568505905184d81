package history

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// A session that has just connected may have to wait for what others know of it: for the
// answers of other nodes, for what one of them sends once it has ended a half-open
// connection, or for the end of such a connection here. Until then Session.waits is true.
//
// The client may move on meanwhile. In long polling that is common: a node that is
// polled with the token of a dead node opens a connection, which phoenix.js gives up at
// once, to open another on any node. So a session that waits stays when its connection ends
// (it is neither connected nor kept), until it knows what to pass on. A node that sends a
// session without topics has found out that it knows nothing of them.

const (
	// askPause is the time between two questions: clients that come meanwhile are asked
	// about together. The first one is asked about at once, so that the question is on its
	// way before the client can go to another node.
	askPause = 2 * time.Millisecond
	// askWait is how long a node waits for the answers of the others.
	askWait = 200 * time.Millisecond
	// giveWait is how long a connection that is to give up its session may take, and how long
	// a node that has promised a session.
	giveWait = 2 * time.Second
	// askAtOnce bounds the sessions in one question.
	askAtOnce = 1000
	// answerBytes is the size above which an answer is sent in several messages.
	answerBytes = 16 << 10
)

// question is sent to all other nodes.
type question struct {
	keys []SessionKey
	left []LogID // that have yet to answer
}

// sessionWait is what a session waits for. It remains until all of it has come, even if the session
// is known before.
type sessionWait struct {
	ending int     // connections here that are to end
	asked  int     // questions that are not over
	owed   []LogID // nodes that have promised the session
	silent []LogID // nodes that did not answer, or did not keep their promise
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

// awaitEnd has a session wait for the end of an earlier connection here. The caller holds mu.
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

// settle ends the wait of a session if nothing is left that it could wait for. If nobody
// knows it and nodes have not answered or have died, what these have announced counts. The
// caller holds mu.
func (s *Sessions) settle(key SessionKey) {
	w := s.waits[key]
	if w == nil || w.ending > 0 || w.asked > 0 || len(w.owed) > 0 {
		return
	}
	delete(s.waits, key)
	if here := s.by.find(key); here != nil && here.waits() {
		here.fallBack(s.afterCrash(w.silent), s.store.now().Add(SessionAge))
		s.endWait(here)
	}
}

// endWait notes that a session knows all that there is. The caller holds mu.
func (s *Sessions) endWait(one *Session) {
	one.setWaits(false)
	if one.conn == nil {
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
	number, data := h.number, binary.AppendUvarint([]byte{messageAsk}, h.number)
	for _, key := range q.keys {
		data = append(data, key[:]...)
	}
	h.asked[number] = q
	for _, log := range s.peersInOrder() {
		if h.peers[log].up {
			q.left = append(q.left, log)
			h.link.Send(log, data)
		}
	}
	if len(q.left) == 0 {
		s.endQuestion(number)
		return
	}
	s.store.after(askWait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endQuestion(number)
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
		s.store.after(giveWait, func() { s.giveUpOn(promised) })
	}
}

// giveUpOn no longer waits for sessions that other nodes have promised.
func (s *Sessions) giveUpOn(keys []SessionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if w := s.waits[key]; w != nil {
			w.silent, w.owed = append(w.silent, w.owed...), nil
			s.settle(key)
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
		return s.takeSessions(from, body)
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
		switch here := s.by.find(key); {
		case here == nil:
		case here.conn != nil || here.waits():
			s.share.givesTo[key] = from
			pending = append(pending, key[:]...)
			if here.conn != nil {
				later = append(later, here.conn)
			}
		default:
			s.drop(here)
			if here.forgetOld(s.store.now()); here.rest == nil {
				break
			}
			if given = s.appendSession(given, here); len(given) > answerBytes {
				s.share.link.Send(from, append([]byte{messageGive}, given...))
				given = nil
			}
		}
	}
	data := binary.AppendUvarint([]byte{messageAnswer}, number)
	data = binary.AppendUvarint(data, uint64(len(pending)/len(SessionKey{})))
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
	s.share.link.Send(to, s.appendSession([]byte{messageGive}, one))
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
	err := s.takeSessions(from, keys[size:])
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
		here := s.by.find(one.key)
		if here == nil || here.conn == nil || here.waits() { // the client may be gone already
			s.takeCopy(one)
		}
		if w := s.waits[one.key]; w != nil {
			w.owed = slices.DeleteFunc(w.owed, func(log LogID) bool { return log == from })
			s.settle(one.key)
		}
	}
	return nil
}
