package logging

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Open returns a logger to an output that may block or fail, as [New] makes it,
// and the Writer in between.
func Open(out io.Writer, level *Level, format string, isTerminal bool) (zerolog.Logger, *Writer, error) {
	var reports bytes.Buffer // of the Writer's goroutine
	reporter, err := New(&reports, level, format, isTerminal)
	if err != nil {
		return zerolog.Nop(), nil, err
	}
	w := NewWriter(out, func(dropped int64, cause error) []byte {
		reports.Reset()
		if cause == nil {
			cause = errSlowLog
		}
		reporter.Warn().Err(cause).Int64("lines", dropped).Msg("lines of the log were dropped")
		return reports.Bytes()
	})
	log, err := New(w, level, format, isTerminal)
	return log, w, err
}

var errSlowLog = errors.New("they came faster than the log could be written")

// OrStderr returns the logger that a library is given. In place of nil it is one
// that writes errors to standard error and never blocks.
func OrStderr(to *zerolog.Logger) zerolog.Logger {
	if to != nil {
		return *to
	}
	return stderr().log
}

// FlushStderr waits, for timeout at most, until the errors that were logged for
// want of a logger are written.
func FlushStderr(timeout time.Duration) { stderr().writer.Flush(timeout) }

type stderrLog struct {
	log    zerolog.Logger
	writer *Writer
}

// stderr is made when it is first needed: programs may replace os.Stderr.
var stderr = sync.OnceValue(func() stderrLog {
	level := new(Level)
	level.least.Store(int32(zerolog.ErrorLevel) - int32(zerolog.InfoLevel))
	log, writer, err := Open(os.Stderr, level, "auto", IsTerminal(os.Stderr))
	if err != nil {
		panic(err) // the format is one that New knows
	}
	return stderrLog{log: log.Level(zerolog.ErrorLevel), writer: writer}
})
