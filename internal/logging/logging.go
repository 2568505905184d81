// Package logging makes the server's logger: text on a terminal, JSON
// elsewhere, and in neither the query string of a URL or a token.
package logging

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// timeFormat is RFC 3339 with milliseconds. It is not set in
// zerolog.TimeFieldFormat, which belongs to the whole program.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// New returns a logger that writes a line to w for each event of level or
// above: debug, info, warn, error, or off for none. The format is text, json,
// or auto, which is text where isTerminal and JSON elsewhere; text has colours
// on terminals only. Each line reaches w in one Write, after Scrub; w must
// allow concurrent calls, as files do.
func New(w io.Writer, level, format string, isTerminal bool) (zerolog.Logger, error) {
	return newLogger(w, level, format, isTerminal, time.Now)
}

func newLogger(w io.Writer, level, format string, isTerminal bool, now func() time.Time) (zerolog.Logger, error) {
	atLeast, ok := levels[level]
	if !ok {
		return zerolog.Nop(), fmt.Errorf("logging: level %q is none of debug, info, warn, error, off", level)
	}
	switch {
	case format == "text", format == "auto" && isTerminal:
		w = console(w, isTerminal)
	case format == "json", format == "auto":
	default:
		return zerolog.Nop(), fmt.Errorf("logging: format %q is none of auto, text, json", format)
	}
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, now().Format(timeFormat))
	})
	return zerolog.New(scrubber{w}).Level(atLeast).Hook(stamp), nil
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
		// The time is shown as it is in JSON: the console's own format would
		// lose the milliseconds.
		FormatTimestamp: func(stamp any) string { return fmt.Sprint(stamp) },
	}
}

// IsTerminal reports whether f is a terminal, for New.
func IsTerminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}
