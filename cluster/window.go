package cluster

import "math"

// windowSpan bounds the distance between the first and the last entry of a window: a missing entry takes 24 bytes.
const windowSpan = 1 << 16

// window holds entries of a peer that cannot be applied yet, within a limit of bytes. The lowest numbers are needed
// first: if there is no room, the highest are dropped and asked for again later.
type window struct {
	limit   int // static
	first   uint64
	entries []entry // entries first, first+1, …; nil: missing. Neither the first nor the last is nil.
	bytes   int
}

// put adds a copy of entry n, unless there is no room for it.
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

// last returns the highest number. The window must not be empty.
func (w *window) last() uint64 { return w.first + uint64(len(w.entries)) - 1 }

// lowest returns the lowest number, or the largest uint64 if the window is empty.
func (w *window) lowest() uint64 {
	if len(w.entries) == 0 {
		return math.MaxUint64
	}
	return w.first
}

// get returns entry n, nil if it is missing.
func (w *window) get(n uint64) entry {
	if n < w.first || n-w.first >= uint64(len(w.entries)) {
		return nil
	}
	return w.entries[n-w.first]
}

// takeEntry removes entry n and returns it, nil if it is missing.
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
