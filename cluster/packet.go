package cluster

import (
	"encoding/binary"
	"errors"
	"time"
)

// A packet is
//
//	version(1) kind(1) log(8) body
//
// where log is the sender's. Numbers are uvarints; log identifiers are big-endian.
//
//	batch      first { len type(1) body }*     entries first, first+1, …
//	heartbeat  { tag len value }*              unknown tags are skipped
//	ask        from to                         send these entries again
//	want       snapshot { index }*             send a snapshot (0: a new one), or these parts
//	part       snapshot at until index count type(1) body
//	message    type(1) body                    for a Messenger
//
// Heartbeats of any version are read; other packets only if this node knows
// their version.
type packetKind byte

const (
	packetBatch packetKind = iota + 1
	packetHeartbeat
	packetAsk
	packetWant
	packetPart
	packetMessage
)

const packetHead = 10

var errMalformed = errors.New("cluster: malformed packet")

func appendHead(b []byte, version byte, kind packetKind, log LogID) []byte {
	return binary.BigEndian.AppendUint64(append(b, version, byte(kind)), uint64(log))
}

// received is a packet's head and what follows it.
type received struct {
	version byte
	kind    packetKind
	log     LogID
	body    []byte
}

func parsePacket(b []byte) (received, error) {
	if len(b) < packetHead {
		return received{}, errMalformed
	}
	return received{b[0], packetKind(b[1]), LogID(binary.BigEndian.Uint64(b[2:packetHead])), b[packetHead:]}, nil
}

// reader reads the fields of a body. After an error all results are zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) fail() {
	r.b, r.failed = nil, true
}

func (r *reader) err() error {
	if r.failed {
		return errMalformed
	}
	return nil
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// bytes reads a length and returns that many bytes, a slice of r.
func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) more() bool { return len(r.b) > 0 && !r.failed }

// entry is a type followed by a body, as in a batch and in the log.
type entry []byte

func (e entry) typ() byte    { return e[0] }
func (e entry) body() []byte { return e[1:] }

// parseBatch calls each with the entries of a batch, which are slices of body.
// If the batch is malformed, it calls it for none.
func parseBatch(body []byte, each func(n uint64, e entry)) error {
	r := reader{b: body}
	first := r.number()
	entries := r.b
	for r.more() {
		if len(r.bytes()) == 0 {
			r.fail()
		}
	}
	if r.failed || first == 0 {
		return errMalformed
	}
	r = reader{b: entries}
	for n := first; r.more(); n++ {
		each(n, r.bytes())
	}
	return nil
}

// heartbeat is what a node announces once a second.
type heartbeat struct {
	name, address  string
	oldest, newest byte          // versions that it reads
	head           uint64        // the number of its last entry
	uptime         time.Duration // since its log began
	leaving        bool          // this is a goodbye: head is final
	info           []byte        // Options.Info
	kinds          [][]byte      // what kinds announce, each behind its type
}

const (
	tagName uint64 = iota + 1
	tagAddress
	tagOldest
	tagNewest
	tagHead
	tagUptime
	tagLeaving
	tagInfo
	tagKind
)

func (h *heartbeat) append(b []byte) []byte {
	text := func(tag uint64, value string) {
		b = binary.AppendUvarint(b, tag)
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
	}
	number := func(tag, value uint64) { text(tag, string(binary.AppendUvarint(nil, value))) }
	text(tagName, h.name)
	text(tagAddress, h.address)
	number(tagOldest, uint64(h.oldest))
	number(tagNewest, uint64(h.newest))
	number(tagHead, h.head)
	number(tagUptime, uint64(h.uptime/time.Millisecond))
	if h.leaving {
		number(tagLeaving, 1)
	}
	text(tagInfo, string(h.info))
	for _, k := range h.kinds {
		text(tagKind, string(k))
	}
	return b
}

func parseHeartbeat(body []byte) (h heartbeat, err error) {
	r := reader{b: body}
	for r.more() {
		tag, value := r.number(), r.bytes()
		v := reader{b: value}
		switch tag {
		case tagName:
			h.name = string(value)
		case tagAddress:
			h.address = string(value)
		case tagOldest:
			h.oldest = byte(v.number())
		case tagNewest:
			h.newest = byte(v.number())
		case tagHead:
			h.head = v.number()
		case tagUptime:
			h.uptime = time.Duration(v.number()) * time.Millisecond
		case tagLeaving:
			h.leaving = v.number() == 1
		case tagInfo:
			h.info = append([]byte(nil), value...)
		case tagKind:
			h.kinds = append(h.kinds, value)
		}
		if v.failed {
			r.fail()
		}
	}
	if h.name == "" || h.newest == 0 {
		r.fail()
	}
	return h, r.err()
}
