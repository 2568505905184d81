package outbox

import (
	"errors"
	"os"
)

// maxReadBuffer bounds the buffer that a reader keeps, in bytes.
const maxReadBuffer = 2 << 20

// Reader reads a log from a number on. It belongs to one goroutine.
type Reader struct {
	log  *Log
	next uint64
	at   *segment // nil: not located yet
	off  int64    // offset in at
	buf  []byte
}

// NewReader returns a reader that begins with the record with a number; 0 means the
// oldest.
func (l *Log) NewReader(from uint64) *Reader { return &Reader{log: l, next: from} }

// Next returns the number that Read continues with.
func (r *Reader) Next() uint64 { return r.next }

// Seek continues at another number.
func (r *Reader) Seek(to uint64) {
	if to != r.next {
		r.next, r.at = to, nil
	}
}

// Read returns the next records, none if there are none yet. They have about 256 KiB at
// most, unless a record is larger: then up to maxReadBuffer, or that one. They are valid
// until the next call. lost is how many records before them were removed.
func (r *Reader) Read() (records []Record, lost uint64, err error) {
	for len(records) == 0 {
		if r.at == nil {
			n, err := r.locate()
			lost += n
			if err != nil {
				return nil, lost, err
			}
		}
		records, err = r.readHere()
		switch {
		case errors.Is(err, os.ErrClosed): // removed meanwhile
			if r.log.isClosed() {
				return nil, lost, ErrClosed
			}
			r.at = nil
			continue
		case err != nil:
			return nil, lost, err
		}
		if len(records) == 0 {
			n, more := r.advance()
			lost += n
			if !more {
				return nil, lost, nil
			}
		}
	}
	r.next = records[len(records)-1].Seq + 1
	return records, lost, nil
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// locate finds the segment and the offset of next.
func (r *Reader) locate() (lost uint64, err error) {
	s := r.log.find(r.next)
	if s.first > r.next {
		if r.next > 0 {
			lost = s.first - r.next
		}
		r.next = s.first
	}
	r.at, r.off = s, 0
	var head [headSize]byte
	for seq := s.first; seq < r.next; seq++ {
		n, err := s.readAt(head[:], r.off)
		if errors.Is(err, os.ErrClosed) { // removed meanwhile
			r.at = nil
			if r.log.isClosed() {
				return lost, ErrClosed
			}
			more, err := r.locate()
			return lost + more, err
		}
		if err != nil || n < headSize {
			return lost, err
		}
		r.off += int64(recordBytes(head[:]))
	}
	return lost, nil
}

// readHere reads from the current segment.
func (r *Reader) readHere() (records []Record, err error) {
	if len(r.buf) == 0 || len(r.buf) > maxReadBuffer {
		r.buf = make([]byte, readSize)
	}
	for {
		n, err := r.at.readAt(r.buf, r.off)
		if err != nil {
			return nil, err
		}
		used := 0
		for {
			record, size, err := readRecord(r.buf[used:n])
			if err != nil && used == 0 { // damaged since it was opened: the rest of the segment is lost
				r.off = r.at.bytes()
				return nil, nil
			}
			if err != nil || size == 0 {
				break
			}
			used += size
			records = append(records, record)
		}
		r.off += int64(used)
		if used > 0 || n < headSize {
			return records, nil
		}
		r.buf = make([]byte, recordBytes(r.buf)) // one record is larger than the buffer
	}
}

// advance moves to the next segment. It returns false if there is none yet. lost is how
// many damaged records it skips.
func (r *Reader) advance() (lost uint64, more bool) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.first > r.at.first {
			if r.off < r.at.bytes() { // appended since, before s was begun
				return 0, true
			}
			lost = s.first - r.next
			r.at, r.off, r.next = s, 0, s.first
			return lost, true
		}
	}
	return 0, false
}
