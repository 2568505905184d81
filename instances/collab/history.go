package collab

import (
	"encoding/json"
	"fmt"
	"slices"
)

// entry is an operation and its place in the order.
type entry struct {
	Rev  int64           `json:"rev"` // revision of the document that it has made
	User string          `json:"user"`
	ID   string          `json:"id"` // the client's own name for it
	Op   json.RawMessage `json:"op"` // on the document of revision Rev-1

	change change
	size   int // of its JSON
}

// bounds are the limits of a history.
type bounds struct {
	ops   int
	bytes int // of the entries' JSON, including their metadata
}

// history is a document and the operations that led to it, as far back as the
// bounds permit. It has no lock and no clock.
type history struct {
	bounds bounds
	doc    document
	rev    int64
	log    []entry // the last is rev's
	bytes  int     // sum of log's sizes
}

// oldest returns the oldest revision that an operation may be made on.
func (h *history) oldest() int64 { return h.rev - int64(len(h.log)) }

// next transforms an operation over all later ones, and returns the entry to
// append and the resulting document. If the operation is in the history
// already, again is true. next changes nothing.
func (h *history) next(base int64, user, id string, op json.RawMessage) (e entry, doc document, again bool, err error) {
	concurrent, err := h.since(base)
	if err != nil {
		return e, nil, false, err
	}
	for _, old := range concurrent {
		if old.ID == id && old.User == user {
			return old, h.doc, true, nil
		}
	}
	c, err := h.doc.parse(op)
	if err != nil {
		return e, nil, false, err
	}
	for _, earlier := range concurrent {
		// Insertions of others cut it into more parts. A stored operation with
		// too many parts could not be read again, and each further step costs
		// as much as there are parts.
		if c = c.after(earlier.change); c.parts() > maxParts {
			return e, nil, false, refuse("op falls into more than %d parts, because of what has come since revision %d: take the document anew", maxParts, base)
		}
	}
	if doc, err = h.doc.apply(c); err != nil {
		return e, nil, false, err
	}
	if err := checkSize(doc, h.doc); err != nil {
		return e, nil, false, err
	}
	e = entry{Rev: h.rev + 1, User: user, ID: id, change: c}
	if e.Op, err = c.MarshalJSON(); err != nil {
		return e, nil, false, err
	}
	e.size, err = e.measure()
	return e, doc, false, err
}

// checkSize refuses a document that could not be saved, unless it is smaller
// than before.
func checkSize(doc, before document) error {
	if doc.bound() <= maxDocBytes {
		return nil
	}
	now, err := doc.MarshalJSON()
	if err != nil || len(now) <= maxDocBytes {
		return err
	}
	was, err := before.MarshalJSON()
	if err == nil && len(now) > len(was) {
		return refuse("the document would have %d bytes as JSON: at most %d are allowed", len(now), maxDocBytes)
	}
	return err
}

// measure returns the size of the entry in a saved log.
func (e *entry) measure() (int, error) {
	text, err := json.Marshal(e)
	return len(text) + len(","), err
}

// since returns the operations after a revision.
func (h *history) since(rev int64) ([]entry, error) {
	switch {
	case rev < 0 || rev > h.rev:
		return nil, refuse("rev is %d: the document is at revision %d", rev, h.rev)
	case rev < h.oldest():
		return nil, refuse("rev is %d, which is too old: the log begins at %d; take the document anew", rev, h.oldest())
	}
	return h.log[rev-h.oldest():], nil
}

// append appends the results of next.
func (h *history) append(e entry, doc document) {
	h.doc, h.rev = doc, e.Rev
	h.log = append(h.log, e)
	h.bytes += e.size
	drop := 0
	for drop < len(h.log) && (len(h.log)-drop > h.bounds.ops || h.bytes > h.bounds.bytes) {
		h.bytes -= h.log[drop].size
		drop++
	}
	h.log = slices.Delete(h.log, 0, drop)
}

// saved is the stored form of a history.
type saved struct {
	Rev int64           `json:"rev"`
	Log []entry         `json:"log"`
	Doc json.RawMessage `json:"doc"`
}

func (h *history) encode() ([]byte, error) {
	doc, err := h.doc.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return json.Marshal(saved{h.rev, h.log, doc})
}

// decode reads what encode wrote, into an empty history.
func (h *history) decode(data []byte) error {
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("collab: the saved document is damaged: %w", err)
	}
	doc, err := h.doc.load(s.Doc)
	if err != nil {
		return fmt.Errorf("collab: the saved document is damaged: %w", err)
	}
	for i := range s.Log {
		e := &s.Log[i]
		if e.change, err = h.doc.parse(e.Op); err != nil {
			return fmt.Errorf("collab: operation %d is damaged: %w", e.Rev, err)
		}
		if e.size, err = e.measure(); err != nil {
			return err
		}
		h.bytes += e.size
	}
	h.doc, h.rev, h.log = doc, s.Rev, s.Log
	return nil
}

// replay appends an operation that was saved by itself.
func (h *history) replay(e entry) error {
	var err error
	if e.change, err = h.doc.parse(e.Op); err != nil {
		return fmt.Errorf("collab: operation %d is damaged: %w", e.Rev, err)
	}
	doc, err := h.doc.apply(e.change)
	if err == nil {
		e.size, err = e.measure()
	}
	if err != nil {
		return fmt.Errorf("collab: operation %d does not fit the document: %w", e.Rev, err)
	}
	h.append(e, doc)
	return nil
}
