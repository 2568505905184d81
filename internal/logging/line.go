package logging

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
)

// Log writes the lines of a package that clients can cause: at most ten of a
// kind in a second (see [Limiter]), with fields of bounded length. Any
// goroutine may use it. It recovers a panic of the logger.
type Log struct {
	to      zerolog.Logger
	limiter Limiter
}

// NewLog returns a Log that writes to a logger. If that is nil, it writes
// errors to standard error and never blocks.
func NewLog(to *zerolog.Logger) *Log { return &Log{to: OrStderr(to), limiter: Limiter{most: maxLines}} }

// Line begins a line. The message, which names its kind, must be a constant. A
// line that is not written costs no allocation.
func (l *Log) Line(level zerolog.Level, message string) Line {
	if level == zerolog.DebugLevel {
		return l.Debug(message)
	}
	if !l.limiter.allow(&l.to, lineKind{level, message}) {
		return Line{}
	}
	return Line{l.to.WithLevel(level), message} //nolint:zerologlint // Line.Write does
}

// Debug begins a line at level debug. While that level is off, nothing is
// counted.
func (l *Log) Debug(message string) Line {
	e := l.to.Debug()
	if e == nil {
		return Line{}
	}
	if !l.limiter.allow(&l.to, lineKind{zerolog.DebugLevel, message}) {
		e.Discard()
		write(e, "") // gives its memory back
		return Line{}
	}
	return Line{e, message}
}

// Info begins a line at level info.
func (l *Log) Info(message string) Line { return l.Line(zerolog.InfoLevel, message) }

// Warn begins a line at level warn.
func (l *Log) Warn(message string) Line { return l.Line(zerolog.WarnLevel, message) }

// Error begins a line at level error.
func (l *Log) Error(message string) Line { return l.Line(zerolog.ErrorLevel, message) }

// Line is a log line that is being built, until Write. The zero Line is not
// written.
type Line struct {
	event   *zerolog.Event
	message string
}

// On reports whether the line will be written, for fields that are expensive to
// compute.
func (l Line) On() bool { return l.event != nil }

// Str adds a text, cut at 256 bytes.
func (l Line) Str(name, text string) Line {
	if l.event != nil {
		l.event.Str(name, Cut(text))
	}
	return l
}

// Strs adds texts, each cut at 256 bytes.
func (l Line) Strs(name string, texts []string) Line {
	if l.event != nil {
		list := zerolog.Arr()
		for _, text := range texts {
			list.Str(Cut(text))
		}
		l.event.Array(name, list)
	}
	return l
}

// Addr adds an address and port.
func (l Line) Addr(name string, addr netip.AddrPort) Line {
	if l.event != nil {
		l.event.Str(name, addr.String())
	}
	return l
}

// Int adds a number.
func (l Line) Int(name string, n int) Line {
	l.event.Int(name, n) // does nothing if event is nil
	return l
}

// Type adds the name of v's type.
func (l Line) Type(name string, v any) Line {
	l.event.Type(name, v)
	return l
}

// Err adds an error under the name "error"; nil adds nothing.
func (l Line) Err(err error) Line {
	if l.event != nil && err != nil { // by fmt, because the Error method of a nil pointer may panic
		l.event.Str(zerolog.ErrorFieldName, cutAt(fmt.Sprint(err), maxError))
	}
	return l
}

// Panic adds the value of a panic and its stack, which may be nil.
func (l Line) Panic(value any, stack []byte) Line {
	if l.event == nil {
		return l
	}
	l.event.Str("panic", cutAt(fmt.Sprint(value), maxError))
	if len(stack) > 0 {
		l.event.Str(stackField, cutAt(string(stack), maxStack))
	}
	return l
}

// Took adds the time since start, in milliseconds.
func (l Line) Took(start time.Time) Line {
	if l.event != nil {
		l.event.Float64("took_ms", float64(time.Since(start).Microseconds())/1000)
	}
	return l
}

// Write ends the line.
func (l Line) Write() {
	if l.event != nil {
		write(l.event, l.message)
	}
}

// write passes an event to its logger, which may be an application's. It is
// called on event loops, where no panic may pass.
func write(e *zerolog.Event, message string) {
	defer func() { _ = recover() }() // there is nowhere to report it
	e.Msg(message)
}

// Flush writes the due summaries. It is called when the owner of the log is
// closed.
func (l *Log) Flush() { l.limiter.flush() }
