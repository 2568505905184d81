package sim

import (
	"fmt"
	"strings"
	"time"
)

// traced is how many lines a trace has at most.
const traced = 400

// trace is the last lines of what happened.
type trace struct {
	lines []string
	next  int // where the next line goes once there are all
}

func (t *trace) add(now time.Duration, text string) {
	line := fmt.Sprintf("%9.3f s  %s", now.Seconds(), text)
	if len(t.lines) < traced {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % traced
}

func (t *trace) String() string {
	return strings.Join(append(append([]string(nil), t.lines[t.next:]...), t.lines[:t.next]...), "\n")
}
