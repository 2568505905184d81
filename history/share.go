package history

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// Receiver is told what happens in a space; an endpoint with clients is one. It is called
// under the lock of the topic, and must not block.
type Receiver interface {
	// Receive is called with a message that another node has broadcast. recorded is
	// false if no rule of this node records it. m is valid until Receive returns.
	Receive(topic string, m *Message, recorded bool)
	// Mark is called when the clients of a topic are to be sent its position.
	Mark(topic string, p Position)
	// Lost is called when messages of some topics, nil: any, can no longer be received
	// that the clients should have been sent. Positions do not include them yet. It is
	// not called under a lock.
	Lost(topics []string, why Reason)
}

// Attach adds a receiver, until detach is called.
func (sp *Space) Attach(r Receiver) (detach func()) {
	one := &r
	sp.attached.Lock()
	defer sp.attached.Unlock()
	sp.setReceivers(append(slices.Clone(sp.getReceivers()), one))
	return func() {
		sp.attached.Lock()
		defer sp.attached.Unlock()
		sp.setReceivers(slices.DeleteFunc(slices.Clone(sp.getReceivers()), func(o *Receiver) bool { return o == one }))
	}
}

func (sp *Space) getReceivers() []*Receiver {
	if list := sp.receivers.Load(); list != nil {
		return *list
	}
	return nil
}

func (sp *Space) setReceivers(list []*Receiver) { sp.receivers.Store(&list) }

// Share has the messages of shared spaces sent to all other nodes of a cluster, whose
// stores [Store.Apply] them. publish appends an entry, the concatenation of its parts,
// to the log of this node, and neither waits nor keeps the parts. state appends an
// entry for [Store.ApplyState], which must not be refused. Call Share before the
// first space is opened.
func (s *Store) Share(publish func(parts ...[]byte) error, state func(entry []byte)) {
	s.shared = &logs{id: s.own.id, publish: publish, state: state}
	s.own = &logs{id: newLogID()}
}

// Share makes the messages of the space those of all nodes. It returns an error if
// the store is not shared.
func (sp *Space) Share() error {
	if sp.store.shared == nil {
		return errNotShared
	}
	sp.logs.Store(sp.store.shared)
	return nil
}

// An entry of a node's log is
//
//	space topic message
//
// where the first two are a length and that many bytes, and message is as it is kept
// in a ring.

// entryHead returns an entry without the event and payload at its end.
func entryHead(space, topic string, m *Message) []byte {
	b := make([]byte, 0, len(space)+len(topic)+64)
	b = records.AppendText(b, space)
	b = records.AppendText(b, topic)
	var room [messageHead]byte
	head := appendMessageHead(room[:0], m)
	b = binary.AppendUvarint(b, uint64(len(head)+len(m.Event)+len(m.Payload)))
	return append(b, head...)
}

// Apply applies an entry of another node. Entries of a log must come in order; those that
// have been applied already are ignored.
func (s *Store) Apply(log LogID, entry []byte) error {
	space, rest, err := records.CutText(entry)
	if err != nil {
		return err
	}
	topic, rest, err := records.CutText(rest)
	if err != nil {
		return err
	}
	k, err := parseKept(rest)
	if err != nil || k.log != log || s.shared == nil || log == s.shared.id {
		return records.ErrMalformed
	}
	if head, ok := s.shared.headOf(log); ok && k.number <= head {
		return nil
	}
	m := k.message(string(k.event))
	s.openShared(string(space)).receive(string(topic), &m)
	s.shared.raise(log, m.Number)
	s.makeRoom()
	return nil
}

// openShared opens a space that other nodes share.
func (s *Store) openShared(name string) *Space {
	sp := s.Open(name)
	sp.logs.Store(s.shared)
	return sp
}

// receive records a message of another node and gives it to the receivers.
func (sp *Space) receive(topic string, m *Message) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	if st.isErased(topic, m) {
		return
	}
	r := sp.ringFor(st, topic, m.Event)
	now := sp.store.now()
	if r != nil {
		sp.put(r, m, now)
	}
	for _, one := range sp.getReceivers() {
		(*one).Receive(topic, m, r != nil)
	}
	if r != nil {
		sp.logs.Load().raise(m.Log, m.Number) // the mark includes it
		sp.mark(r, now)
	}
}

// Up notes that the node of another log is heard.
func (s *Store) Up(log LogID) {
	if s.shared != nil {
		s.shared.raise(log, 0)
		s.shared.setUp(log, true, time.Time{})
		s.tellHeads()
	}
}

// Down notes that the node of another log is silent, or has said goodbye.
func (s *Store) Down(log LogID) {
	if s.shared != nil {
		s.shared.setUp(log, false, time.Time{})
		s.adoptErasures(true) // a maker that was never heard may have died before the node that had its erasure
		s.tellHeads()
		s.sendTails()
	}
}

// Gone notes that a log has ended.
func (s *Store) Gone(log LogID) {
	if s.shared != nil {
		s.shared.setUp(log, false, s.now())
	}
}
