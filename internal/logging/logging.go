// Package logging makes the server's logger: text on a terminal, JSON
// elsewhere, in both cases without query strings and tokens.
package logging

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// timeFormat is RFC 3339 with milliseconds. It is not set in
// zerolog.TimeFieldFormat, which belongs to the whole program.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Level is the least important level that is logged; it may change at any time.
// The zero Level is info.
type Level struct{ least atomic.Int32 }

// Set takes one of debug, info, warn, error, or off for none. After an error
// the level is unchanged.
func (l *Level) Set(name string) error {
	least, ok := levels[name]
	if !ok {
		return fmt.Errorf("logging: level %q is not one of debug, info, warn, error, off", name)
	}
	l.least.Store(int32(least) - int32(zerolog.InfoLevel))
	return nil
}

// Sample implements zerolog.Sampler, which is called before a line is built.
func (l *Level) Sample(level zerolog.Level) bool {
	return level >= zerolog.Level(l.least.Load())+zerolog.InfoLevel
}

// New returns a logger that writes a line to w for each event of level or
// above. The format is text, json, or auto, which is text if isTerminal and JSON
// otherwise; text has colours on terminals only. Each line reaches w in one
// Write, after Scrub; w must allow concurrent calls, as files do.
func New(w io.Writer, level *Level, format string, isTerminal bool) (zerolog.Logger, error) {
	return newLogger(w, level, format, isTerminal, time.Now)
}

func newLogger(w io.Writer, level *Level, format string, isTerminal bool, now func() time.Time) (zerolog.Logger, error) {
	switch {
	case format == "text", format == "auto" && isTerminal:
		w = console(w, isTerminal)
	case format == "json", format == "auto":
	default:
		return zerolog.Nop(), fmt.Errorf("logging: format %q is not one of auto, text, json", format)
	}
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, now().Format(timeFormat))
	})
	return zerolog.New(scrubber{w}).Hook(stamp).Sample(level), nil
}

var levels = map[string]zerolog.Level{
	"debug": zerolog.DebugLevel,
	"info":  zerolog.InfoLevel,
	"warn":  zerolog.WarnLevel,
	"error": zerolog.ErrorLevel,
	"off":   zerolog.Disabled,
}

// console turns lines of JSON into text for people.
func console(w io.Writer, colours bool) io.Writer {
	return zerolog.ConsoleWriter{
		Out:     w,
		NoColor: !colours,
		// The time is shown as in JSON: the console's own format would lose the
		// milliseconds.
		FormatTimestamp: func(stamp any) string { return fmt.Sprint(stamp) },
		// A stack is printed as Go prints it, and not as one quoted string.
		FieldsExclude: []string{stackField},
		FormatExtra: func(fields map[string]any, line *bytes.Buffer) error {
			if stack, ok := fields[stackField].(string); ok {
				line.WriteString("\n" + strings.TrimRight(stack, "\n"))
			}
			return nil
		},
	}
}

// stackField is the name of the field that has the stack of a panic.
const stackField = "stack"

// IsTerminal reports whether f is a terminal, for New.
func IsTerminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}
