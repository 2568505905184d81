package logging

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxBuffered is the most bytes of lines that wait for the output: some
	// thousand lines, and more than Limiters let pass in a second.
	maxBuffered = 1 << 20
	// writeSize is the most that is written in one call, except for a longer
	// line.
	writeSize = 32 << 10
	// retryAfter is the pause after a write that failed: a full disk fails at once,
	// and again.
	retryAfter = 250 * time.Millisecond
	// reportEvery is the least time between two reports of dropped lines.
	reportEvery = time.Second
)

// Writer passes lines to an output that may block or fail, such as a pipe that
// nobody reads or a full disk. Its own Write does neither. Lines wait in a
// buffer of 1 MiB for a goroutine, which exists only while there are any. Lines
// that find the buffer full, or that cannot be written, are dropped and
// counted.
type Writer struct {
	out io.Writer // static; used by one goroutine at a time

	// Guarded by mu. Nothing is written to out under it.
	mu        sync.Mutex
	waiting   []byte // whole lines
	writing   bool   // the goroutine runs
	torn      bool   // the output ends within a line
	total     int64  // lines dropped so far
	dropped   int64  // of these, not yet reported
	cause     error  // why the last line was dropped; nil: the buffer was full
	report    func(dropped int64, cause error)
	reporting bool          // report runs: its line is accepted even if the buffer is full
	reported  time.Time     // when it ran last
	idle      chan struct{} // closed when nothing is waiting; nil: no Flush waits for it
}

// NewWriter returns a Writer that writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Logger returns a logger to w, as [New] makes it. It also gets a report of
// dropped lines, as soon as lines can be written again.
func (w *Writer) Logger(level *Level, format string, isTerminal bool) (zerolog.Logger, error) {
	log, err := New(w, level, format, isTerminal)
	if err != nil {
		return log, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = func(dropped int64, cause error) {
		if cause == nil {
			cause = errSlowOutput
		}
		log.Warn().Err(cause).Int64("lines", dropped).Msg("lines of the log were dropped")
	}
	return log, nil
}

var errSlowOutput = errors.New("they came faster than they could be written")

// Write queues one line. It never blocks and never fails.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting)+len(line) > maxBuffered && !w.reporting {
		w.dropLocked(1, nil)
		return len(line), nil
	}
	w.waiting = append(w.waiting, line...)
	if !w.writing {
		w.writing = true
		go w.run()
	}
	return len(line), nil
}

// Dropped returns how many lines were dropped so far.
func (w *Writer) Dropped() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Flush waits at most timeout until everything has been written, and reports
// whether it has.
func (w *Writer) Flush(timeout time.Duration) bool {
	w.mu.Lock()
	if !w.writing {
		w.mu.Unlock()
		return true
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-idle:
		return true
	case <-t.C:
		return false
	}
}

func (w *Writer) dropLocked(lines int64, cause error) {
	w.dropped += lines
	w.total += lines
	w.cause = cause
}

// run writes until no lines wait.
func (w *Writer) run() {
	var batch []byte
	for {
		batch = w.takeBatch(batch[:0])
		if len(batch) == 0 {
			return
		}
		if !w.writeBatch(batch) {
			time.Sleep(retryAfter)
			continue
		}
		w.reportDropped()
	}
}

// takeBatch moves the lines to write next into batch; if there are none, the
// goroutine ends.
func (w *Writer) takeBatch(batch []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.writing = false
		if cap(w.waiting) > writeSize {
			w.waiting = nil
		}
		if w.idle != nil {
			close(w.idle)
			w.idle = nil
		}
		return nil
	}
	if w.torn {
		batch = append(batch, '\n')
	}
	n := batchEnd(w.waiting)
	batch = append(batch, w.waiting[:n]...)
	w.waiting = append(w.waiting[:0], w.waiting[n:]...)
	return batch
}

// batchEnd returns the end of the lines that are written in one call.
func batchEnd(waiting []byte) int {
	if len(waiting) <= writeSize {
		return len(waiting)
	}
	if n := bytes.LastIndexByte(waiting[:writeSize], '\n'); n >= 0 {
		return n + 1
	}
	if n := bytes.IndexByte(waiting, '\n'); n >= 0 {
		return n + 1
	}
	return len(waiting)
}

// writeBatch writes lines, and counts those that cannot be written.
func (w *Writer) writeBatch(batch []byte) (written bool) {
	n, err := w.out.Write(batch)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.torn = batch[n-1] != '\n'
	}
	if err != nil {
		lost := bytes.TrimPrefix(batch[n:], []byte("\n")) // that line break only ended a torn line
		w.dropLocked(int64(bytes.Count(lost, []byte("\n"))), err)
	}
	return err == nil
}

// reportDropped logs how many lines were dropped, after those that wait: at
// most once in a second, except for the last report.
func (w *Writer) reportDropped() {
	w.mu.Lock()
	dropped, cause, report, now := w.dropped, w.cause, w.report, time.Now()
	if dropped == 0 || report == nil || len(w.waiting) > 0 && now.Sub(w.reported) < reportEvery {
		w.mu.Unlock()
		return
	}
	w.dropped, w.cause, w.reported, w.reporting = 0, nil, now, true
	w.mu.Unlock()
	report(dropped, cause)
	w.mu.Lock()
	w.reporting = false
	w.mu.Unlock()
}
