package presence

import (
	"slices"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// A key that very many channels have tracked, or with very long metas, would
// make its chunk as large as all its metas: every change would have all of them
// encoded again, under the lock, and states would share no bytes. So the metas
// of such a large key are divided into runs of about chunkBytes, as keys are
// divided into chunks. A chunk with a large key is not encoded as a whole: see
// topic.weave.

// run is a part of the metas of a large key that clients know, in order.
type run struct {
	members []*presence
	size    int // bytes of their metas and the commas

	// encoded is the metas, each preceded by a comma; nil: to be encoded.
	// States share it, like chunk.encoded.
	encoded []byte
	part    *prepared.Part
}

// runs holds the runs of a large key.
type runs struct {
	list []*run
	of   map[*presence]*run
}

// isLarge reports whether the metas of e that clients know would fill several
// chunks. It looks at no more metas than that takes.
func (tp *topic) isLarge(e *entry) bool {
	size := 0
	for p := e.first; p != nil; p = p.next {
		if size += len(sent(tp, p)); size >= splitAbove*tp.chunkBytes {
			return true
		}
	}
	return false
}

// enlarge makes e a large key if it has become one. It is cheap if it has not,
// because chunks take no more keys above chunkBytes.
func (tp *topic) enlarge(e *entry) {
	if e.chunk.size < splitAbove*tp.chunkBytes || tp.large[e] != nil || !tp.isLarge(e) {
		return
	}
	r := &runs{of: make(map[*presence]*run)}
	for p := e.first; p != nil; p = p.next {
		if meta := sent(tp, p); meta != "" {
			r.add(tp, p, meta)
		}
	}
	if tp.large == nil {
		tp.large = make(map[*entry]*runs)
	}
	tp.large[e] = r
	e.chunk.large++
	e.chunk.encoded = nil
}

// reduce makes e an ordinary key again if it is large.
func (tp *topic) reduce(e *entry) {
	if tp.large[e] != nil {
		delete(tp.large, e)
		e.chunk.large--
		e.chunk.encoded = nil
	}
}

// committed notes that clients have been told of a change of p: of its meta,
// which now comes after all others, or, with meta "", of its end.
func (r *runs) committed(tp *topic, p *presence, meta string) {
	r.remove(tp, p)
	if meta != "" {
		r.add(tp, p, meta)
	}
}

func (r *runs) add(tp *topic, p *presence, meta string) {
	var last *run
	if n := len(r.list); n > 0 {
		last = r.list[n-1]
	}
	if last == nil || last.size >= tp.chunkBytes {
		last = &run{encoded: []byte{}}
		r.list = append(r.list, last)
	}
	last.members = append(last.members, p)
	last.size += len(",") + len(meta)
	r.of[p] = last
	if last.encoded != nil {
		last.encoded, last.part = append(append(last.encoded, ','), meta...), nil
	}
}

// remove removes p if it is there. Clients know it by its previous meta.
func (r *runs) remove(tp *topic, p *presence) {
	one := r.of[p]
	if one == nil {
		return
	}
	delete(r.of, p)
	i := slices.Index(one.members, p)
	one.members = slices.Delete(one.members, i, i+1)
	one.size -= len(",") + len(sent(tp, p))
	one.encoded, one.part = nil, nil
	at := slices.Index(r.list, one)
	switch {
	case len(one.members) == 0:
		r.list = slices.Delete(r.list, at, at+1)
	case at+1 < len(r.list) && one.size+r.list[at+1].size <= tp.chunkBytes/2:
		r.absorb(at)
	case at > 0 && r.list[at-1].size+one.size <= tp.chunkBytes/2:
		r.absorb(at - 1)
	}
}

// absorb moves the members of the next run into the run at.
func (r *runs) absorb(at int) {
	one, next := r.list[at], r.list[at+1]
	for _, p := range next.members {
		r.of[p] = one
	}
	one.members = append(one.members, next.members...)
	one.size += next.size
	one.encoded, one.part = nil, nil
	r.list = slices.Delete(r.list, at+1, at+2)
}

// shared returns the run as a part of a state, without the comma before its
// first meta if it is the first run of its key in a message.
func (r *run) shared(tp *topic, first bool) *prepared.Part {
	if r.encoded == nil {
		r.encoded, r.part = make([]byte, 0, r.size), nil
		for _, p := range r.members {
			r.encoded = append(append(r.encoded, ','), sent(tp, p)...)
		}
	}
	text := r.encoded
	if first {
		text = text[1:]
	}
	if r.part == nil || len(r.part.Text()) != len(text) {
		r.part = prepared.NewPart(text[:len(text):len(text)])
	}
	return r.part
}

// weave adds a chunk with large keys to a series: their runs, and between them
// entries that are encoded anew.
func (tp *topic) weave(c *chunk, s *series) {
	w := weaver{tp: tp, s: s}
	for _, e := range c.entries {
		if r := tp.large[e]; r != nil {
			for _, one := range r.list {
				w.addRun(e, one)
			}
			continue
		}
		for p := e.first; p != nil; p = p.next {
			if meta := sent(tp, p); meta != "" {
				w.addMeta(e, meta)
			}
		}
	}
	w.closeOpenEntry()
}

// weaver writes entries into a series meta by meta or run by run.
type weaver struct {
	tp    *topic
	s     *series
	piece []byte // end of the open message, after its parts
	open  *entry // last entry of the message
}

// room makes sure that the open message has room for bytes of e, unless they
// fit into no message.
func (w *weaver) room(e *entry, bytes int) {
	if w.s.parts != nil && w.s.size+len(w.piece)+len(w.members())+w.tp.entrySize(e)+bytes > w.s.most {
		w.closeOpenEntry()
		w.s.close()
	}
	w.s.open(0)
	if w.open != e {
		w.piece = closeEntry(w.piece, w.open != nil, w.members())
	}
}

// members are those that the open entry has behind its metas.
func (w *weaver) members() string {
	if w.open == nil {
		return ""
	}
	return w.tp.members(w.open)
}

// comma reports whether the open message has an entry already.
func (w *weaver) comma() bool { return !w.s.isFirst() || len(w.piece) > 0 }

func (w *weaver) addMeta(e *entry, meta string) {
	w.room(e, len(meta))
	w.piece = e.appendMeta(w.piece, meta, w.comma(), w.open == e)
	w.open = e
}

func (w *weaver) addRun(e *entry, r *run) {
	if r.size+w.tp.entrySize(e) > w.s.room() { // no message can hold it
		for _, p := range r.members {
			w.addMeta(e, sent(w.tp, p))
		}
		return
	}
	w.room(e, r.size)
	first := w.open != e
	if first {
		w.piece = e.appendMeta(w.piece, "", w.comma(), false)
	}
	w.flush()
	w.s.append(r.shared(w.tp, first))
	w.open = e
}

// flush turns piece into a part.
func (w *weaver) flush() {
	if len(w.piece) > 0 {
		w.s.append(prepared.NewPart(w.piece))
		w.piece = nil
	}
}

// closeOpenEntry closes the open entry.
func (w *weaver) closeOpenEntry() {
	w.piece = closeEntry(w.piece, w.open != nil, w.members())
	w.flush()
	w.open = nil
}
