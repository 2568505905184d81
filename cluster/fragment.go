package cluster

import "encoding/binary"

// An entry that does not fit into a packet is appended in fragments:
//
//	typeFragment count left part
//
// count is their number, left how many follow. The parts together are the
// entry, beginning with its type. The fragments of an entry are appended in one
// step, so that no other entry comes between them.

// fragments cuts an entry that is larger than part into fragments.
func fragments(e entry, part int) []entry {
	if len(e) <= part {
		return []entry{e}
	}
	size := part - 1 - 2*binary.MaxVarintLen32
	count := (len(e) + size - 1) / size
	cut := make([]entry, 0, count)
	for left := count - 1; left >= 0; left-- {
		n := min(size, len(e))
		head := binary.AppendUvarint([]byte{typeFragment}, uint64(count))
		head = binary.AppendUvarint(head, uint64(left))
		cut = append(cut, append(head, e[:n]...))
		e = e[n:]
	}
	return cut
}

// joiner joins fragments. The zero joiner is ready to use. Fragments whose
// predecessors are lost are dropped.
type joiner struct {
	partial []byte // nil: no fragment is awaited
}

// join returns an entry if e completes it.
func (j *joiner) join(e entry) (whole entry, ok bool) {
	if e.typ() != typeFragment {
		j.partial = nil
		return e, true
	}
	r := reader{b: e.body()}
	count, left := r.number(), r.number()
	switch {
	case r.failed || len(r.b) == 0:
		j.partial = nil
		return nil, false
	case left == count-1:
		j.partial = append([]byte(nil), r.b...)
	case j.partial == nil || len(j.partial)+len(r.b) > maxEntry:
		j.partial = nil
		return nil, false
	default:
		j.partial = append(j.partial, r.b...)
	}
	if left > 0 {
		return nil, false
	}
	whole, j.partial = j.partial, nil
	return whole, true
}
