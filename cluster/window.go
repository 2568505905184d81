package cluster

import "math"

// windowSpan bounds the distance between the first and the last entry of a
// window: an entry that is not there takes 24 bytes.
const windowSpan = 1 << 16

// window holds entries of a peer that cannot be applied yet, within a limit of bytes. The lowest
// numbers are what is needed first: where there is no room, the highest give way, and are asked
// for again later.
type window struct {
	limit   int // static
	first   uint64
	entries []entry // of first, first+1, …; nil: not here. Neither the first nor the last is nil.
	bytes   int
}

// put holds a copy of entry n, unless there is no room for it.
func (w *window) put(n uint64, e entry) {
	if w.get(n) != nil {
		return
	}
	for len(w.entries) > 0 && (w.bytes+len(e) > w.limit || n < w.first && w.last()-n >= windowSpan) {
		if n > w.last() {
			return
		}
		w.takeEntry(w.last())
	}
	if len(e) > w.limit {
		return
	}
	switch {
	case len(w.entries) == 0:
		w.first, w.entries = n, append(w.entries[:0], nil)
	case n < w.first:
		w.entries = append(make([]entry, w.first-n, w.last()-n+1), w.entries...)
		w.first = n
	case n-w.first >= windowSpan:
		return
	}
	for n > w.last() {
		w.entries = append(w.entries, nil)
	}
	w.entries[n-w.first] = append(entry(nil), e...)
	w.bytes += len(e)
}

// last is the highest number. Only for a window that is not empty.
func (w *window) last() uint64 { return w.first + uint64(len(w.entries)) - 1 }

// lowest is the lowest number, the largest there is if the window is empty.
func (w *window) lowest() uint64 {
	if len(w.entries) == 0 {
		return math.MaxUint64
	}
	return w.first
}

// get returns entry n, nil if it is not here.
func (w *window) get(n uint64) entry {
	if n < w.first || n-w.first >= uint64(len(w.entries)) {
		return nil
	}
	return w.entries[n-w.first]
}

// takeEntry removes entry n and returns it, nil if it is not here.
func (w *window) takeEntry(n uint64) entry {
	e := w.get(n)
	if e == nil {
		return nil
	}
	w.entries[n-w.first] = nil
	w.bytes -= len(e)
	for len(w.entries) > 0 && w.entries[0] == nil {
		w.entries, w.first = w.entries[1:], w.first+1
	}
	for len(w.entries) > 0 && w.entries[len(w.entries)-1] == nil {
		w.entries = w.entries[:len(w.entries)-1]
	}
	if len(w.entries) == 0 {
		w.entries = nil
	}
	return e
}
