package history

import (
	"errors"
	"fmt"
	"math"
)

// Durable stores the messages of durable rules outside of this process, in one stream
// that all nodes have in common. The stream numbers its entries, and its order is that of
// all topics on all nodes: what it stores comes back to every node, by
// [Store.ApplyStored], and is delivered then. Package history/natsstream implements it.
//
// Only Remove may block: the others are called under locks.
type Durable interface {
	// Open has the stream opened, and its entries given to the store, unless that has
	// begun.
	Open()
	// Append stores an entry of a topic and calls done once, on any goroutine, with nil
	// when it is stored. After an error it may have been stored all the same. Entries of
	// a topic are stored in the order of the calls. Append takes over the entry.
	Append(space, topic string, entry []byte, done func(error))
	// Trim has the entries of a topic whose numbers are below a number removed some
	// time; those of all topics of the space if topic is "".
	Trim(space, topic string, below uint64)
	// Remove calls which once the store has been given everything of the topic that was
	// stored before the call. Then it removes the entries of the topic whose numbers are
	// below number, or the one with exactly that number, and waits until that is done.
	Remove(space, topic string, which func() (number uint64, exactly bool)) error
}

// Errors about durable rules.
var (
	// ErrNotDurable is returned for a durable rule in a store without a [Durable].
	ErrNotDurable = errors.New("history: there is no place to store the messages of a durable rule")
	// ErrNotStored is in the error for a message that could not be stored.
	ErrNotStored = errors.New("history: the message is not stored")
	// ErrNotErased is in the error for durable messages that could not be erased, or not
	// everywhere.
	ErrNotErased = errors.New("history: not erased")
)

// DurableStats are the figures of a [Durable] that has a method Stats.
type DurableStats struct {
	// Wanted reports whether Open was called.
	Wanted bool
	// Waiting and WaitingBytes are the messages that are being stored.
	Waiting, WaitingBytes int
	// Stored and Refused count the messages of this process since its start: those that
	// were stored, and those whose senders were told that they were not.
	Stored, Refused uint64
	// Malformed counts entries of the stream that could not be read.
	Malformed uint64
	// Trouble is why messages cannot be stored or read; "" if they can.
	Trouble string
}

// Persist gives the store a place for the messages of durable rules. Call it before the
// first space is opened.
func (s *Store) Persist(d Durable) { s.durable = d }

// IsDurable reports whether rules may be durable.
func (s *Store) IsDurable() bool { return s.durable != nil }

// IsDurable reports whether a rule of the space is durable.
func (sp *Space) IsDurable() bool { return sp.durable.Load() }

// StoresTopic reports whether the rule of a topic is durable.
func (sp *Space) StoresTopic(topic string) bool {
	if !sp.durable.Load() {
		return false
	}
	r := sp.rules.Load().of(topic)
	return r != nil && r.Durable
}

// Stores reports whether a broadcast is stored with [Space.Append], rather than recorded
// with [Space.Record].
func (sp *Space) Stores(topic, event string) bool {
	if !sp.durable.Load() {
		return false
	}
	r := sp.rules.Load().records(topic, event)
	return r != nil && r.Durable
}

// maxStoredTopic bounds the topic of a durable message, in bytes. A topic is part of the
// subject in NATS, in base64, and a server ends the connection of a client that sends a line
// of more than 4 KiB.
const maxStoredTopic = 2 << 10

// An entry of the stream is one byte that says what it is, followed by a message as in a
// ring, whose log, number and time are those of the stream instead, or by an erasure as
// nodes tell each other.
const (
	entryMessage byte = iota + 1
	entryErasure
)

// Append stores a message that [Space.Stores] and calls done once, on any goroutine, when
// it is stored or that has failed. The receivers of the space on all nodes, this one
// too, get the message when the stream brings it, before or after that. The payload is
// copied. Append does not block, and done must not either.
func (sp *Space) Append(topic string, m *Message, done func(error)) {
	s := sp.store
	switch {
	case s.durable == nil:
		done(fmt.Errorf("%w: %w", ErrNotStored, ErrNotDurable))
		return
	case len(topic) > maxStoredTopic:
		done(fmt.Errorf("%w: the topic has %d bytes, and a durable one at most %d", ErrNotStored, len(topic), maxStoredTopic))
		return
	}
	m.Log, m.Number, m.Time = s.Log(), 1, s.now() // not used, but must be valid
	entry := append(make([]byte, 0, 1+encodedBound(m)), entryMessage)
	s.durable.Append(sp.name, topic, appendMessage(entry, m), func(err error) {
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrNotStored, err)
		}
		done(err)
	})
}

// removeStored removes what an erasure matches from the stream, and has all nodes drop it.
// It returns how many messages that were on this node. It removes first: a full stream has
// no room for the entry before.
func (sp *Space) removeStored(topic string, e *erasure, made func() *erasure) (n int, err error) {
	s := sp.store
	stream := s.stream.log()
	if e.id != (ID{}) && e.id.Log != stream {
		return 0, nil
	}
	err = s.durable.Remove(sp.name, topic, func() (number uint64, exactly bool) {
		n = sp.count(topic, made)
		switch below := e.upTo.of(stream) + 1; {
		case e.id != ID{}:
			return e.id.Number, true
		case e.before != 0:
			return min(below, sp.firstSince(topic, e.before)), false
		default:
			return below, false
		}
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotErased, err)
	}
	done := make(chan error, 1)
	s.durable.Append(sp.name, topic, e.append([]byte{entryErasure}), func(err error) { done <- err })
	if err := <-done; err != nil {
		return 0, fmt.Errorf("%w from memory, only from the disk: %w", ErrNotErased, err)
	}
	return n, nil
}

// firstSince returns the number in the stream of the first message of a topic at or after
// a time, the largest number if there is none in memory.
func (sp *Space) firstSince(topic string, ms int64) uint64 {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	if r := st.rings[topic]; r != nil {
		for k := range r.all {
			if k.log == sp.store.stream.log() && k.ms >= ms {
				return k.number
			}
		}
	}
	return math.MaxUint64
}
