package logging

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// How many lines of one kind pass in one second of the clock.
const (
	// maxLines is for warnings and errors. Ten show what is wrong; the number of
	// those left out shows how bad it is.
	maxLines = 10
	// maxServerLines is for all endpoints of a server together. It is higher,
	// so that one noisy instance does not hide the lines of the others.
	maxServerLines = 50
	// maxDebugLines is for level debug, which asks for everything.
	maxDebugLines = 1000
	// maxKinds bounds the kinds that a Limiter remembers. A program has a few
	// dozen; above the limit, kinds that have been quiet for a second are
	// forgotten.
	maxKinds = 256
)

// Limiter bounds how many lines of a kind are written in a second of the clock,
// and reports how many were left out. A kind is a message: "origin refused".
// Level info is not limited, because its lines are about what operators do. Any
// goroutine may use it.
type Limiter struct {
	most int // lines of a kind in a second, except at level debug

	// Guarded by mu. Nothing is written under it.
	mu    sync.Mutex
	kinds map[lineKind]*kindCount
}

// lineKind is a message and its level. The same message may be an error or, if
// a client has left, a debug line, which must not use up the errors' share.
type lineKind struct {
	level   zerolog.Level
	message string
}

// kindCount is one kind in the current second.
type kindCount struct {
	second  int64       // Unix time
	count   int         // lines that passed in it
	left    int64       // lines left out and not yet reported
	summary *time.Timer // will write the summary; nil: none is due
	report  func()      // writes the summary
}

// allow reports whether one more line of a kind may be written. The first line
// that is left out schedules a summary, written to log at the end of its
// second.
func (l *Limiter) allow(log *zerolog.Logger, kind lineKind) bool {
	most := l.most
	switch kind.level {
	case zerolog.InfoLevel:
		return true
	case zerolog.DebugLevel:
		most = maxDebugLines
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kindLocked(kind, now.Unix())
	if k.count < most {
		k.count++
		return true
	}
	k.left++
	if k.summary == nil {
		over := now.Truncate(time.Second).Add(time.Second)
		k.report = func() { l.summarize(log, kind, k) }
		k.summary = time.AfterFunc(over.Sub(now), k.report)
	}
	return false
}

func (l *Limiter) kindLocked(kind lineKind, second int64) *kindCount {
	k := l.kinds[kind]
	switch {
	case k == nil:
		if len(l.kinds) >= maxKinds {
			l.forgetLocked(second)
		}
		if l.kinds == nil {
			l.kinds = make(map[lineKind]*kindCount)
		}
		k = &kindCount{second: second}
		l.kinds[kind] = k
	case k.second != second:
		k.second, k.count = second, 0
	}
	return k
}

// forgetLocked drops the kinds that have been quiet in this second, or all
// kinds if there are none.
func (l *Limiter) forgetLocked(second int64) {
	for kind, k := range l.kinds {
		if k.second != second && k.left == 0 {
			delete(l.kinds, kind)
		}
	}
	if len(l.kinds) >= maxKinds {
		clear(l.kinds) // their summaries are still written
	}
}

// summarize writes how many lines of a kind were left out.
func (l *Limiter) summarize(log *zerolog.Logger, kind lineKind, k *kindCount) {
	l.mu.Lock()
	left := k.left
	k.left, k.summary, k.report = 0, nil, nil
	l.mu.Unlock()
	if left > 0 {
		write(log.WithLevel(kind.level).Str("kind", kind.message).Int64("lines", left), leftOut)
	}
}

// flush writes all due summaries at once.
func (l *Limiter) flush() {
	var due []func()
	l.mu.Lock()
	for _, k := range l.kinds {
		if k.summary != nil && k.summary.Stop() {
			due = append(due, k.report)
		}
	}
	l.mu.Unlock()
	for _, report := range due {
		report()
	}
}

// leftOut is the message of a summary.
const leftOut = "more lines of this kind were left out"

// Limit returns log with the limit of a whole server: 50 lines of each kind in
// a second. Loggers derived from it share the limit.
func Limit(log zerolog.Logger) zerolog.Logger {
	return log.Hook(limitHook{limiter: &Limiter{most: maxServerLines}, log: &log})
}

// limitHook is a Limiter as a zerolog.Hook.
type limitHook struct {
	limiter *Limiter
	log     *zerolog.Logger // without the hook, for the summaries
}

// Run implements zerolog.Hook. Disabled lines have been discarded before.
func (h limitHook) Run(e *zerolog.Event, level zerolog.Level, message string) {
	if level != zerolog.Disabled && !h.limiter.allow(h.log, lineKind{level, message}) {
		e.Discard()
	}
}
