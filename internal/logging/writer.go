package logging

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxBuffered is how many bytes of lines wait for the output at most: some
	// thousand lines, and more than a second of what Limiters let pass.
	maxBuffered = 1 << 20
	// writeSize is how much is written in one call at most, but for a longer line.
	writeSize = 32 << 10
	// retryAfter is the pause after a write that failed: a full disk fails at once,
	// and again.
	retryAfter = 250 * time.Millisecond
	// reportEvery is the least time between two reports of dropped lines.
	reportEvery = time.Second
)

// Writer hands lines on to an output that may block or fail: a pipe that nobody
// reads, a full disk. Its own Write does neither. Lines wait in a buffer of 1 MiB
// for a goroutine that exists while there are any; those that find it full, or
// that the output fails for, are dropped and counted.
type Writer struct {
	// Static after NewWriter.
	out    io.Writer
	report func(dropped int64, cause error) []byte

	mu sync.Mutex
	// Guarded by mu.
	waiting []byte        // whole lines
	writing bool          // the goroutine runs
	torn    bool          // the output ends within a line, or may
	dropped int64         // lines, since the last report
	cause   error         // of the last one: what the output failed with; nil: the buffer was full
	total   int64         // lines dropped so far
	idle    chan struct{} // closed when nothing waits any more; nil: nobody waits for that

	// The goroutine's.
	reported time.Time
}

// NewWriter returns a Writer to out. report, if not nil, makes the line that
// says how many lines were dropped, once lines can be written again; cause is
// why the output failed, nil if it only was too slow.
func NewWriter(out io.Writer, report func(dropped int64, cause error) []byte) *Writer {
	return &Writer{out: out, report: report}
}

// Write takes one line. It never blocks and never fails.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting)+len(line) > maxBuffered {
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

// Flush waits until everything has been written, but not longer than timeout. It
// reports whether that was enough.
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

// run writes until nothing waits.
func (w *Writer) run() {
	var batch []byte
	for {
		batch = w.takeBatch(batch[:0])
		if len(batch) == 0 {
			return
		}
		if !w.writeBatch(batch) {
			time.Sleep(retryAfter)
		}
	}
}

// takeBatch moves the lines to write next into batch: none when the goroutine is
// to end.
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

// writeBatch writes lines, and counts those that the output fails for.
func (w *Writer) writeBatch(batch []byte) (written bool) {
	n, err := w.out.Write(batch)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.torn = batch[n-1] != '\n'
	}
	if err != nil {
		w.dropLocked(int64(max(1, bytes.Count(batch[n:], []byte("\n")))), err)
		return false
	}
	w.reportLocked()
	return true
}

// reportLocked puts the line that tells of dropped lines behind those that wait:
// at most one in a second, but for the last.
func (w *Writer) reportLocked() {
	now := time.Now()
	if w.dropped == 0 || w.report == nil || len(w.waiting) > 0 && now.Sub(w.reported) < reportEvery {
		return
	}
	line := w.report(w.dropped, w.cause)
	w.waiting = append(w.waiting, line...) // above the bound, if need be
	w.dropped, w.cause, w.reported = 0, nil, now
}
