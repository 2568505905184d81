package outbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// segment is a part of a log: a file, or bytes in memory.
type segment struct {
	// Static after construction.
	first uint64 // the number of its first record
	path  string // "" in memory

	// mu is held for reading while the segment is read, and for writing while it is
	// changed or removed. The log's mu is taken before it.
	mu   sync.RWMutex
	file *os.File // guarded by mu; nil in memory and after the end
	data []byte   // guarded by mu; in memory
	size int64    // guarded by mu
	gone bool     // guarded by mu
}

const suffix = ".log"

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, suffix))
}

// firstOf returns the number in a segment's name.
func firstOf(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil
}

// newSegment makes an empty segment.
func newSegment(dir string, first uint64) (*segment, error) {
	s := &segment{first: first}
	if dir == "" {
		return s, nil
	}
	s.path = segmentPath(dir, first)
	var err error
	s.file, err = os.OpenFile(s.path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	return s, err
}

// openSegment opens the file of a segment and finds its end: the first byte that does
// not belong to a whole record with the number that follows. next is the number after
// its last record.
func openSegment(dir string, first uint64) (s *segment, next uint64, err error) {
	s = &segment{first: first, path: segmentPath(dir, first)}
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0o600); err != nil {
		return nil, 0, err
	}
	next, err = s.scan()
	if err == nil {
		err = s.file.Truncate(s.size)
	}
	if err != nil {
		s.file.Close()
		return nil, 0, err
	}
	return s, next, nil
}

// scan reads the segment once to set its size.
func (s *segment) scan() (next uint64, err error) {
	next = s.first
	info, err := s.file.Stat()
	if err != nil {
		return next, err
	}
	end := info.Size()
	buf := make([]byte, readSize)
	for {
		n, err := s.file.ReadAt(buf[:min(int64(len(buf)), end-s.size)], s.size)
		if err != nil && !errors.Is(err, io.EOF) {
			return next, err
		}
		used := 0
		for {
			r, size, err := readRecord(buf[used:n])
			if err != nil || size > 0 && r.Seq != next {
				s.size += int64(used)
				return next, nil //nolint:nilerr // the rest was never acknowledged, or is damaged: it is cut off
			}
			if size == 0 {
				break
			}
			used, next = used+size, next+1
		}
		s.size += int64(used)
		switch {
		case used > 0:
		case n < headSize || int64(recordBytes(buf)) > end-s.size:
			return next, nil
		default:
			buf = make([]byte, recordBytes(buf))
		}
	}
}

// write appends whole records.
func (s *segment) write(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return os.ErrClosed
	case s.path == "":
		s.data = append(s.data, data...)
	default:
		if _, err := s.file.WriteAt(data, s.size); err != nil {
			s.file.Truncate(s.size) //nolint:errcheck // a part that stays is overwritten, or cut off by the next scan
			return err
		}
	}
	s.size += int64(len(data))
	return nil
}

// readAt reads at most len(dst) bytes at an offset. It returns 0 at the end, and
// os.ErrClosed if the segment has been removed.
func (s *segment) readAt(dst []byte, at int64) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gone {
		return 0, os.ErrClosed
	}
	n := min(int64(len(dst)), s.size-at)
	if s.path == "" {
		return copy(dst[:n], s.data[at:]), nil
	}
	return s.file.ReadAt(dst[:n], at)
}

func (s *segment) bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.size
}

func (s *segment) sync() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return nil
	}
	return s.file.Sync()
}

// end closes the segment. With remove, it also removes the file.
func (s *segment) end(remove bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.data = true, nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if remove {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
