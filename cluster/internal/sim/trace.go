package sim

import (
	"fmt"
	"strings"
	"time"
)

// maxTraceLines bounds the lines of a trace.
const maxTraceLines = 400

// trace keeps the last lines of what happened, in a ring.
type trace struct {
	lines []string
	next  int // where the next line goes once the ring is full
}

func (t *trace) add(now time.Duration, text string) {
	line := fmt.Sprintf("%9.3f s  %s", now.Seconds(), text)
	if len(t.lines) < maxTraceLines {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % maxTraceLines
}

func (t *trace) String() string {
	return strings.Join(append(append([]string(nil), t.lines[t.next:]...), t.lines[:t.next]...), "\n")
}
