package outbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Options configure a [Log].
type Options struct {
	// Dir is the directory of the segments, which is made if it does not exist. Only one
	// log may use it. "" keeps the records in memory.
	Dir string
	// Segment is the size in bytes above which another segment is begun. The
	// default is 4 MiB.
	Segment int64
}

// Log is a list of records. Its methods may be called from any goroutine.
type Log struct {
	options Options // static

	mu       sync.Mutex
	segments []*segment    // guarded by mu: the oldest first; there is at least one
	next     uint64        // guarded by mu: the number of the next record
	size     int64         // guarded by mu: bytes of all segments
	buf      []byte        // guarded by mu
	appended chan struct{} // guarded by mu: closed by the next Append; nil: nobody waits
	unsynced bool          // guarded by mu
	closed   bool          // guarded by mu
}

const (
	defaultSegment = 4 << 20
	// readSize is how many bytes are read at a time, unless a record is larger.
	readSize = 256 << 10
	// maxBuffer bounds the memory that a log keeps for encoding, in bytes.
	maxBuffer = 64 << 10
)

// ErrClosed is returned by a log that is closed.
var ErrClosed = errors.New("outbox: closed")

// Open opens the log in a directory. Damage is cut off: that is the end of the last
// segment if the process or the machine ended while it was written. If another segment is
// damaged, its records after the damage are lost.
func Open(o Options) (*Log, error) {
	if o.Segment <= 0 {
		o.Segment = defaultSegment
	}
	l := &Log{options: o, next: 1}
	if o.Dir != "" {
		if err := l.openSegments(); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
	}
	if len(l.segments) > 0 {
		return l, nil
	}
	s, err := newSegment(o.Dir, l.next)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	l.segments = []*segment{s}
	return l, nil
}

func (l *Log) openSegments() error {
	if err := os.MkdirAll(l.options.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.options.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries { // in the order of their names, which is that of the numbers
		first, ok := firstOf(e.Name())
		if !ok {
			continue
		}
		if first < l.next && len(l.segments) > 0 {
			return fmt.Errorf("%s: begins before the end of the previous segment", segmentPath(l.options.Dir, first))
		}
		s, next, err := openSegment(l.options.Dir, first)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
		l.next = next
		l.size += s.size
	}
	return nil
}

// Append adds records, in one write, and sets their numbers. When it returns nil, they
// survive the end of the process. If it fails, none of them was added.
func (l *Log) Append(records ...*Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.buf = l.buf[:0]
	for i, r := range records {
		r.Seq = l.next + uint64(i)
		if len(r.Topic) > MaxTopic || len(r.Body) > MaxBody {
			return fmt.Errorf("outbox: record too large: its topic has %d bytes and its body %d; at most %d and %d are possible", len(r.Topic), len(r.Body), MaxTopic, MaxBody)
		}
		l.buf = appendRecord(l.buf, r)
	}
	last := l.segments[len(l.segments)-1]
	if last.size > 0 && last.size+int64(len(l.buf)) > l.options.Segment { // only Append changes the size
		if err := l.roll(); err != nil {
			return err
		}
		last = l.segments[len(l.segments)-1]
	}
	if err := last.write(l.buf); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	l.next += uint64(len(records))
	l.size += int64(len(l.buf))
	l.unsynced = true
	if cap(l.buf) > maxBuffer {
		l.buf = nil
	}
	if l.appended != nil {
		close(l.appended)
		l.appended = nil
	}
	return nil
}

// roll begins another segment. mu is held.
func (l *Log) roll() error {
	s, err := newSegment(l.options.Dir, l.next)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	before := l.segments[len(l.segments)-1]
	l.segments = append(l.segments, s)
	if l.unsynced && before.path != "" {
		go before.sync() //nolint:errcheck // only a crash of the machine could lose these records
	}
	return nil
}

// Sync makes what was appended survive a crash of the machine.
func (l *Log) Sync() error {
	l.mu.Lock()
	last, due := l.segments[len(l.segments)-1], l.unsynced && !l.closed
	l.unsynced = false
	l.mu.Unlock()
	if !due {
		return nil
	}
	return last.sync()
}

// Next returns the number that the next record will have.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Oldest returns the number of the oldest record that is left.
func (l *Log) Oldest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[0].first
}

// Size returns the bytes of all records.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Second returns the number of the first record of the second segment, which is the
// oldest record once the first segment is removed. It returns 0 if there is only one
// segment.
func (l *Log) Second() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) < 2 {
		return 0
	}
	return l.segments[1].first
}

// Trim removes the segments that have only records below a number, as long as at least
// keep bytes are left.
func (l *Log) Trim(below uint64, keep int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	n := 0
	for n < len(l.segments)-1 && l.segments[n+1].first <= below {
		size := l.segments[n].bytes()
		if l.size-size < keep {
			break
		}
		errs = append(errs, l.segments[n].end(true))
		l.size -= size
		n++
	}
	l.segments = slices.Delete(l.segments, 0, n)
	return errors.Join(errs...)
}

// Appended returns a Go channel that is closed when there is a record with the number
// next or a later one, or the log is closed.
func (l *Log) Appended(next uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next > next || l.closed {
		return closedChannel
	}
	if l.appended == nil {
		l.appended = make(chan struct{})
	}
	return l.appended
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// find returns the segment that has the record with a number, or would have it. If the
// number is older than all, that is the first segment.
func (l *Log) find(seq uint64) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, found := slices.BinarySearchFunc(l.segments, seq, func(s *segment, seq uint64) int {
		switch {
		case s.first < seq:
			return -1
		case s.first > seq:
			return 1
		}
		return 0
	})
	if !found && i > 0 {
		i--
	}
	return l.segments[i]
}

// Close closes the log. It does not sync.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.appended != nil {
		close(l.appended)
		l.appended = nil
	}
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.end(false))
	}
	return errors.Join(errs...)
}
