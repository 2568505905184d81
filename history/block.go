package history

import (
	"slices"
	"sync"
)

// A block holds several small messages, or one large one. The allocator rounds sizes up to
// its classes, which are up to an eighth apart from 1 KiB on. So a large message may be cut
// into two blocks: one that fills a class, and one for the rest.

const (
	// blockBytes is about what a block takes beside its data: its place in the ring's
	// list, and the spare room of that.
	blockBytes = 28
	// largestBlock bounds the blocks of several messages. Below that, a block has an
	// eighth of the ring's bytes, so that little is wasted at either end.
	largestBlock = 16 << 10
	blockPart    = 8
	// sharedBlock is the largest message that shares a block with others, in
	// bytes: larger ones would leave too much of it unused.
	sharedBlock = 1 << 10
	// largestClass is the largest size class of the allocator; beyond it sizes are
	// rounded up to pages.
	largestClass = 32 << 10
	pageBytes    = 8 << 10
)

// classes returns the size classes of the allocator.
var classes = sync.OnceValue(func() (list []int) {
	for size := 1; size <= largestClass; size++ {
		size = cap(slices.Grow([]byte(nil), size))
		list = append(list, size)
	}
	return list
})

// allocated returns how much the allocator takes for a size, and the largest size below it
// that it would not round up.
func allocated(size int) (above, below int) {
	all := classes()
	i, exact := slices.BinarySearch(all, size)
	switch {
	case exact:
		return size, size
	case i == 0:
		return all[0], 0
	case i < len(all):
		return all[i], all[i-1]
	}
	below = size / pageBytes * pageBytes
	return (size + pageBytes - 1) / pageBytes * pageBytes, below
}

// cut returns where a large message is cut into two blocks, 0 if it takes less in one.
func cut(size int) int {
	above, first := allocated(size)
	if rest, _ := allocated(size - first); above <= first+rest+blockBytes {
		return 0
	}
	return first
}

// push adds a block to the ring. The list has little spare room, since large messages have
// a block each.
func (r *ring) push(data []byte) (grown int64) {
	if n := len(r.blocks); n == cap(r.blocks) {
		r.blocks = append(append([][]byte(nil), make([][]byte, n+n/16+1)...)[:0], r.blocks...) // all of a size class
	}
	r.blocks = append(r.blocks, data)
	grown = int64(cap(data)) + blockBytes
	r.memory += grown
	return grown
}

// shift removes the first n blocks.
func (r *ring) shift(n int) (freed int64) {
	for i := range n {
		freed += int64(cap(r.blocks[i])) + blockBytes
		r.blocks[i] = nil
	}
	r.memory -= freed
	r.off = 0
	if r.blocks = r.blocks[n:]; len(r.blocks) == 0 {
		r.blocks = nil
	}
	return freed
}
