package history

import (
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
	blocks []block // none of them is empty
	count  int     // messages, erased ones included
	bytes  int     // of the messages in the blocks
	memory int64   // what the ring counts against the store's memory
	floor  marks   // the last messages that are no longer kept
	lost   int64   // the latest time of these, Unix ms
	marked int64   // when positions were last sent to clients, Unix ms
	due    bool    // positions are to be sent

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

// block has messages from off on.
type block struct {
	data []byte
	off  int
}

const (
	// ringBytes is about what a ring takes without its topic and blocks: itself,
	// its place in a map, and a floor.
	ringBytes = 256
	// blockBytes is about what a block takes beside its data.
	blockBytes = 64
	// largestBlock bounds the blocks of several messages. Below that, a block has an
	// eighth of the ring's bytes, so that little is wasted at either end.
	largestBlock = 16 << 10
	blockPart    = 8
	// sharedBlock is the largest message that shares a block with others, in
	// bytes: larger ones would leave too much of it unused.
	sharedBlock = 1 << 10
)

// add appends a message and returns by how much the ring's memory has grown.
func (r *ring) add(m *Message) (grown int64) {
	need := encodedBound(m)
	last := len(r.blocks) - 1
	if last < 0 || cap(r.blocks[last].data)-len(r.blocks[last].data) < need {
		size := need
		if need <= sharedBlock {
			size = max(need, min(r.bytes/blockPart, largestBlock))
		}
		r.blocks = append(r.blocks, block{data: slices.Grow([]byte(nil), size)})
		last++
		grown = int64(cap(r.blocks[last].data)) + blockBytes
	}
	b := &r.blocks[last]
	before := len(b.data)
	b.data = appendMessage(b.data, m)
	r.bytes += len(b.data) - before
	r.count++
	r.memory += grown
	return grown
}

// oldest returns the first message and its size.
func (r *ring) oldest() (kept, int) {
	b := &r.blocks[0]
	return readKept(b.data[b.off:])
}

// drop removes the first message and returns how much memory that has freed.
func (r *ring) drop() (freed int64) {
	b := &r.blocks[0]
	k, size := readKept(b.data[b.off:])
	if k.flags&flagErased == 0 {
		r.floor.raise(k.log, k.number)
		r.lost = max(r.lost, k.ms)
	}
	b.off += size
	r.bytes -= size
	r.count--
	if b.off < len(b.data) {
		return 0
	}
	freed = int64(cap(b.data)) + blockBytes
	r.memory -= freed
	r.blocks[0] = block{}
	if r.blocks = r.blocks[1:]; len(r.blocks) == 0 {
		r.blocks = nil
	}
	return freed
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

// all yields the messages, oldest first, without those that were erased.
func (r *ring) all(yield func(k kept) bool) {
	for i := range r.blocks {
		b := &r.blocks[i]
		for at := b.off; at < len(b.data); {
			k, size := readKept(b.data[at:])
			at += size
			if k.flags&flagErased == 0 && !yield(k) {
				return
			}
		}
	}
}

// erase rebuilds the ring without the messages that erased selects, and returns how many
// there were. Their bytes are freed once no page refers to them.
func (r *ring) erase(erased func(k *kept) bool) (n int) {
	blocks := r.blocks
	r.blocks, r.bytes, r.count, r.memory = nil, 0, 0, ringMemory(r.topic)
	for _, b := range blocks {
		for at := b.off; at < len(b.data); {
			k, size := readKept(b.data[at:])
			at += size
			if k.flags&flagErased != 0 {
				continue
			}
			if erased(&k) {
				n++
				continue
			}
			m := k.message(string(k.event))
			r.add(&m)
		}
	}
	return n
}

// ringMemory is what an empty ring counts against the store's memory.
func ringMemory(topic string) int64 { return int64(ringBytes + len(topic)) }
