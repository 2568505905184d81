package history

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// Message is a recorded broadcast.
type Message struct {
	Log    LogID
	Number uint64
	Time   time.Time // by the clock of the node that recorded it, to the millisecond
	Event  string
	// Payload is JSON, or bytes if Binary is true. It must not be modified.
	Payload []byte
	Binary  bool
	// Sender identifies the client that the message must not be sent to, because
	// it has broadcast it to all others; 0: none.
	Sender uint64
}

// ID identifies the message among all messages of all topics.
func (m *Message) ID() ID { return ID{m.Log, m.Number} }

// ID identifies a message: its log and its number.
type ID struct {
	Log    LogID
	Number uint64
}

// String returns the ID as text: the log in hexadecimal, "-" and the number.
func (id ID) String() string { return fmt.Sprintf("%016x-%d", uint64(id.Log), id.Number) }

// ParseID parses what String has returned.
func ParseID(text string) (ID, error) {
	log, number, ok := strings.Cut(text, "-")
	l, err := strconv.ParseUint(log, 16, 64)
	n, err2 := strconv.ParseUint(number, 10, 64)
	if !ok || len(log) != 16 || err != nil || err2 != nil {
		return ID{}, fmt.Errorf("history: %.64q is not the id of a message", text)
	}
	return ID{LogID(l), n}, nil
}

// A kept message is
//
//	size flags(1) log(8) number milliseconds [sender(8)] event-length event payload
//
// where size is that of what follows it, log and sender are big-endian, and the
// other numbers are uvarints.
const (
	flagBinary byte = 1 << iota
	flagSender
)

// kept is a message as it is in a ring, whose bytes it shares.
type kept struct {
	flags  byte
	log    LogID
	number uint64
	ms     int64
	sender uint64
	event  []byte
	data   []byte
	rest   []byte // the end of the payload if the message was cut
}

// messageHead bounds the bytes between the size of a message and its event.
const messageHead = 1 + 8 + 2*binary.MaxVarintLen64 + 8 + binary.MaxVarintLen64

// encodedBound returns an upper bound for the bytes of a message in a ring.
func encodedBound(m *Message) int {
	return binary.MaxVarintLen32 + messageHead + len(m.Event) + len(m.Payload)
}

// appendMessageHead appends what is between the size of a message and its event.
func appendMessageHead(b []byte, m *Message) []byte {
	var flags byte
	if m.Binary {
		flags |= flagBinary
	}
	if m.Sender != 0 {
		flags |= flagSender
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Log))
	b = binary.AppendUvarint(b, m.Number)
	b = binary.AppendUvarint(b, uint64(m.Time.UnixMilli()))
	if m.Sender != 0 {
		b = binary.BigEndian.AppendUint64(b, m.Sender)
	}
	return binary.AppendUvarint(b, uint64(len(m.Event)))
}

// appendMessage appends a message to the bytes of a ring.
func appendMessage(b []byte, m *Message) []byte {
	b = appendMessagePrefix(b, m)
	b = append(b, m.Event...)
	return append(b, m.Payload...)
}

// appendMessagePrefix appends what precedes the event of a message.
func appendMessagePrefix(b []byte, m *Message) []byte {
	var room [messageHead]byte
	head := appendMessageHead(room[:0], m)
	b = binary.AppendUvarint(b, uint64(len(head)+len(m.Event)+len(m.Payload)))
	return append(b, head...)
}

// parseKept reads a message that another process has written: nothing may follow it.
func parseKept(b []byte) (k kept, err error) {
	body, rest, err := records.CutText(b)
	if err != nil || len(rest) > 0 || len(body) < 9 {
		return kept{}, records.ErrMalformed
	}
	k.flags, k.log, body = body[0]&(flagBinary|flagSender), LogID(binary.BigEndian.Uint64(body[1:])), body[9:]
	var ms, event uint64
	for _, into := range []*uint64{&k.number, &ms} {
		v, n := binary.Uvarint(body)
		if n <= 0 {
			return kept{}, records.ErrMalformed
		}
		*into, body = v, body[n:]
	}
	k.ms = int64(ms)
	if k.flags&flagSender != 0 {
		if len(body) < 8 {
			return kept{}, records.ErrMalformed
		}
		k.sender, body = binary.BigEndian.Uint64(body), body[8:]
	}
	event, n := binary.Uvarint(body)
	if n <= 0 || event > uint64(len(body)-n) || k.number == 0 || k.ms < 0 {
		return kept{}, records.ErrMalformed
	}
	end := n + int(event)
	k.event, k.data = body[n:end], body[end:]
	return k, nil
}

// readKept reads the first message of b, which appendMessage has made, and
// returns its size. If that is larger than b, the message was cut, and its rest
// follows elsewhere.
func readKept(b []byte) (k kept, size int) {
	length, n := binary.Uvarint(b)
	size = n + int(length)
	rest := b[n:min(size, len(b))]
	k.flags = rest[0]
	k.log = LogID(binary.BigEndian.Uint64(rest[1:]))
	rest = rest[9:]
	k.number, n = binary.Uvarint(rest)
	rest = rest[n:]
	ms, n := binary.Uvarint(rest)
	k.ms, rest = int64(ms), rest[n:]
	if k.flags&flagSender != 0 {
		k.sender, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	event, n := binary.Uvarint(rest)
	end := n + int(event)
	k.event, k.data = rest[n:end], rest[end:len(rest):len(rest)]
	return k, size
}

// payload returns the payload: the ring's bytes, which are never changed, or a copy if
// the message was cut.
func (k *kept) payload() []byte {
	if k.rest == nil {
		return k.data
	}
	return slices.Concat(k.data, k.rest)
}

// message returns the message, which shares the ring's bytes. event is the kept event as a
// string.
func (k *kept) message(event string) Message {
	return Message{
		Log: k.log, Number: k.number, Time: time.UnixMilli(k.ms), Event: event,
		Payload: k.payload(), Binary: k.flags&flagBinary != 0, Sender: k.sender,
	}
}
