package presence

import (
	"slices"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// defaultChunkBytes is the approximate size of a chunk of a presence_state. A change costs the next state the encoding
// of one chunk, and a state of 100,000 keys is a list of some hundred chunks.
const defaultChunkBytes = 16 << 10

// chunk is a sequence of a topic's entries, in the order in which their keys came, with their part of the
// presence_state. After a change only its chunk is encoded again. size counts a constant for what an entry takes
// besides its key and metas, so chunks may be a little larger.
type chunk struct {
	prev, next *chunk // in topic
	entries    []*entry
	size       int // bytes: keys, current metas and what Fetch has added
	large      int // number of entries that are large keys

	// encoded is the sent side of the entries, each preceded by a comma; nil: to be encoded. States share it: its bytes
	// never change, but more may be appended. It is not used if the chunk has a large key.
	encoded []byte
	part    *prepared.Part // encoded as the states have it; nil: to be made
}

// entryOverhead is the size of an entry in a state without its key and metas: ,"":{"metas":[]}
const entryOverhead = 16

// place appends a new entry.
func (tp *topic) place(e *entry) {
	c := tp.last
	if c == nil || c.size >= tp.chunkBytes {
		c = &chunk{prev: tp.last}
		if tp.last == nil {
			tp.first = c
		} else {
			tp.last.next = c
		}
		tp.last = c
	}
	c.entries = append(c.entries, e)
	c.size += len(e.key) + entryOverhead
	e.chunk = c
}

// displace removes an entry that is no longer in any state. Small chunks are merged, so that their number is proportional
// to the size of the state.
func (tp *topic) displace(e *entry) {
	c := e.chunk
	i := slices.Index(c.entries, e)
	c.entries = slices.Delete(c.entries, i, i+1)
	c.size -= len(e.key) + entryOverhead
	e.chunk = nil
	switch {
	case len(c.entries) == 0:
		tp.unlink(c)
	case c.next != nil && c.size+c.next.size <= tp.chunkBytes/2:
		tp.absorb(c, c.next)
	case c.prev != nil && c.prev.size+c.size <= tp.chunkBytes/2:
		tp.absorb(c.prev, c)
	}
}

// absorb moves the entries of next to the end of c.
func (tp *topic) absorb(c, next *chunk) {
	for _, e := range next.entries {
		e.chunk = c
	}
	c.entries = append(c.entries, next.entries...)
	next.entries = nil
	c.size += next.size
	c.large += next.large
	c.encoded = nil
	tp.unlink(next)
}

// splitAbove is how many times chunkBytes a chunk may have before it is split. A single key of that size becomes a
// large key: see runs.
const splitAbove = 2

// split splits a chunk whose keys have grown, until each part has one key or is small enough. The first keys move to a
// new chunk before c, because whoever goes backwards without the lock may come to c from a chunk that has been unlinked.
func (tp *topic) split(c *chunk) {
	if c.size < splitAbove*tp.chunkBytes || len(c.entries) < 2 {
		return
	}
	before := &chunk{prev: c.prev, next: c}
	moved := 0
	for ; moved < len(c.entries)-1 && before.size < c.size; moved++ {
		e := c.entries[moved]
		size := e.size() + len(tp.members(e))
		c.size -= size
		before.size += size
		if tp.large[e] != nil {
			c.large--
			before.large++
		}
		e.chunk = before
	}
	before.entries = slices.Clone(c.entries[:moved])
	c.entries = slices.Delete(c.entries, 0, moved)
	c.encoded = nil
	if c.prev == nil {
		tp.first = before
	} else {
		c.prev.next = before
	}
	c.prev = before
	tp.split(before)
	tp.split(c)
}

// unlink takes c out of the list. Its own prev stays, so that whoever goes backwards without the lock finds the chunks
// before it.
func (tp *topic) unlink(c *chunk) {
	if c.prev == nil {
		tp.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		tp.last = c.prev
	} else {
		c.next.prev = c.prev
	}
}

// encode brings encoded up to date.
func (c *chunk) encode(tp *topic) {
	if c.encoded != nil {
		return
	}
	c.encoded, c.part = make([]byte, 0, c.size), nil
	for _, e := range c.entries {
		c.encoded = tp.appendEntry(c.encoded, e, sent, true)
	}
}

// shared returns encoded as a part of a state, the same one until it changes. The first part has no comma before its
// first entry.
func (c *chunk) shared(first bool) *prepared.Part {
	text := c.encoded
	if first {
		text = text[1:]
	}
	if c.part == nil || len(c.part.Text()) != len(text) {
		c.part = prepared.NewPart(text[:len(text):len(text)])
	}
	return c.part
}

// committed notes that clients have been told of e, which they did not know before if isNew. New entries come after all
// others and are announced in order, so a new one is appended to encoded.
func (c *chunk) committed(tp *topic, e *entry, isNew bool) {
	if c.encoded == nil {
		return
	}
	if isNew {
		c.encoded, c.part = tp.appendEntry(c.encoded, e, sent, true), nil
	} else {
		c.encoded = nil
	}
}
