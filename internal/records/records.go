// Package records writes and reads streams of records, which are cut into parts
// anywhere: the snapshots that the nodes of a cluster send each other.
//
// A record is
//
//	type(1) length body
//
// where length is a uvarint. Readers skip the types that they do not know.
package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
)

// ErrMalformed is returned for data that cannot be read, or that ends too early.
var ErrMalformed = errors.New("malformed record")

// Writer writes records and cuts them into parts.
type Writer struct {
	size  int
	yield func(part []byte)
	part  []byte
}

// firstPart bounds what is allocated for a part before it is known to be that large.
const firstPart = 4 << 10

// NewWriter returns a writer that calls yield with parts of size bytes, the last of which
// may be smaller. yield may keep the parts.
func NewWriter(size int, yield func(part []byte)) *Writer {
	return &Writer{size: size, yield: yield}
}

// Record writes a record, whose body is the concatenation of the pieces.
func (w *Writer) Record(typ byte, body ...[]byte) {
	size := 0
	for _, piece := range body {
		size += len(piece)
	}
	head := [1 + binary.MaxVarintLen64]byte{typ}
	w.write(head[:1+binary.PutUvarint(head[1:], uint64(size))])
	for _, piece := range body {
		w.write(piece)
	}
}

func (w *Writer) write(b []byte) {
	for len(b) > 0 {
		if w.part == nil {
			w.part = make([]byte, 0, min(w.size, firstPart))
		}
		n := min(len(b), w.size-len(w.part))
		w.part = append(w.part, b[:n]...)
		if b = b[n:]; len(w.part) == w.size {
			w.Flush()
		}
	}
}

// Flush yields what has been written since the last part.
func (w *Writer) Flush() {
	if len(w.part) > 0 {
		w.yield(w.part)
		w.part = nil
	}
}

// Read calls each with the records in parts, until it returns an error. body is valid
// until each returns.
func Read(parts iter.Seq[[]byte], each func(typ byte, body []byte) error) error {
	var rest []byte
	for part := range parts {
		rest = append(rest, part...)
		for len(rest) > 0 {
			body, behind, err := CutText(rest[1:])
			if err != nil {
				break // continues in the next part
			}
			if err := each(rest[0], body); err != nil {
				return err
			}
			rest = behind
		}
		rest = bytes.Clone(rest) // frees what has been read
	}
	if len(rest) > 0 {
		return ErrMalformed
	}
	return nil
}

// AppendText appends the length of a text and the text.
func AppendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// CutText reads a length and that many bytes, and returns them and the rest, which share
// the memory of b.
func CutText(b []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, ErrMalformed
	}
	b = b[size:]
	return b[:n], b[n:], nil
}
