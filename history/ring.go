package history

import (
	"encoding/binary"
	"slices"
	"time"
)

// ring has the last messages of a topic, oldest first. Messages of one log are in
// the order of their numbers. A stripe's lock guards it.
//
// Messages are in blocks of bytes without pointers, which the garbage collector
// need not look into. What has been written to a block never changes, so pages
// that were read from it stay valid after the lock is released.
type ring struct {
	topic  string
	rule   *rule
	blocks [][]byte // none of them is empty
	off    int      // where the first message begins in the first block
	count  int      // messages
	bytes  int      // of the messages in the blocks
	memory int64    // what the ring counts against the store's memory
	floor  marks    // the last messages that are no longer kept
	lost   int64    // the latest time of these, Unix ms
	marked int64    // when positions were last sent to clients, Unix ms
	due    bool     // positions are to be sent

	// Of messages from the stream; see Space.trimStored.
	stored    bool   // there were some
	trimmed   uint64 // up to where the stream was trimmed
	trimmedAt int64  // when, Unix ms
	untrimmed int    // messages since
}

// follow gives the ring the present rule of its topic.
func (r *ring) follow(rule *rule) {
	if rule.pending && r.stored {
		rule = pendingStored
	}
	r.rule = rule
}

// ringBytes is about what a ring takes without its topic and blocks: itself, its place in a
// map, and a floor.
const ringBytes = 256

// add appends a message and returns by how much the ring's memory has grown.
func (r *ring) add(m *Message) (grown int64) {
	need := encodedBound(m)
	last := len(r.blocks) - 1
	r.count++
	if need > sharedBlock {
		return r.addLarge(m)
	}
	if last < 0 || cap(r.blocks[last])-len(r.blocks[last]) < need {
		grown = r.push(slices.Grow([]byte(nil), max(need, min(r.bytes/blockPart, largestBlock))))
		last++
	}
	b := &r.blocks[last]
	before := len(*b)
	*b = appendMessage(*b, m)
	r.bytes += len(*b) - before
	return grown
}

// addLarge adds a message that has blocks of its own.
func (r *ring) addLarge(m *Message) (grown int64) {
	var room [messageHead + binary.MaxVarintLen32]byte
	prefix := appendMessagePrefix(room[:0], m)
	size := len(prefix) + len(m.Event) + len(m.Payload)
	r.bytes += size
	first := cut(size)
	if first < len(prefix)+len(m.Event) { // also if it is not cut
		first = size
	}
	payload := m.Payload[:first-len(prefix)-len(m.Event)]
	b := append(slices.Grow([]byte(nil), first), prefix...)
	b = append(append(b, m.Event...), payload...)
	grown = r.push(slices.Clip(b)) // nothing may follow the first part
	if first < size {
		grown += r.push(slices.Clip(slices.Concat(m.Payload[len(payload):])))
	}
	return grown
}

// oldest returns the first message and its size.
func (r *ring) oldest() (kept, int) { return readKept(r.blocks[0][r.off:]) }

// drop removes the first message and returns how much memory that has freed.
func (r *ring) drop() (freed int64) {
	k, size := r.oldest()
	r.floor.raise(k.log, k.number)
	r.lost = max(r.lost, k.ms)
	r.off += size
	r.bytes -= size
	r.count--
	switch n := len(r.blocks[0]); {
	case r.off < n:
		return 0
	case r.off > n: // it was cut
		return r.shift(2)
	}
	return r.shift(1)
}

// trim drops what exceeds the bounds of the ring's rule.
func (r *ring) trim(now time.Time) (freed int64) {
	oldest := now.Add(-r.rule.Age).UnixMilli()
	for r.count > 0 {
		if r.count <= r.rule.Messages && r.bytes <= r.rule.Bytes {
			if k, _ := r.oldest(); k.ms >= oldest {
				break
			}
		}
		freed += r.drop()
	}
	return freed
}

// dropBlock drops messages until a block is freed.
func (r *ring) dropBlock() (dropped int, freed int64) {
	for freed == 0 && r.count > 0 {
		freed = r.drop()
		dropped++
	}
	return dropped, freed
}

// all yields the messages, oldest first.
func (r *ring) all(yield func(k kept) bool) { eachKept(r.blocks, r.off, yield) }

// eachKept yields the messages in blocks, of which the first begins at off.
func eachKept(blocks [][]byte, off int, yield func(k kept) bool) {
	for i := 0; i < len(blocks); i++ {
		b := blocks[i]
		for at := off; at < len(b); {
			k, size := readKept(b[at:])
			if at += size; at > len(b) { // it was cut
				i++
				k.rest = blocks[i]
			}
			if !yield(k) {
				return
			}
		}
		off = 0
	}
}

// erase rebuilds the ring without the messages that erased selects, and returns how many
// there were. Their bytes are freed once no page refers to them.
func (r *ring) erase(erased func(k *kept) bool) (n int) {
	blocks, off := r.blocks, r.off
	r.clear()
	eachKept(blocks, off, func(k kept) bool {
		if erased(&k) {
			n++
			return true
		}
		m := k.message(string(k.event))
		r.add(&m)
		return true
	})
	return n
}

// clear removes all messages, as if they had never been there.
func (r *ring) clear() {
	r.blocks, r.off, r.bytes, r.count, r.memory = nil, 0, 0, 0, ringMemory(r.topic)
}

// ringMemory is what an empty ring counts against the store's memory.
func ringMemory(topic string) int64 { return int64(ringBytes + len(topic)) }
