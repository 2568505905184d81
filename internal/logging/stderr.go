package logging

import (
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// OrStderr returns to or, if that is nil, a logger that writes errors to
// standard error and never blocks.
func OrStderr(to *zerolog.Logger) zerolog.Logger {
	if to != nil {
		return *to
	}
	return stderr().log
}

// FlushStderr waits at most timeout until the lines of that logger have been
// written.
func FlushStderr(timeout time.Duration) { stderr().writer.Flush(timeout) }

type stderrLog struct {
	log    zerolog.Logger
	writer *Writer
}

// stderr is made when it is first needed: programs may replace os.Stderr.
var stderr = sync.OnceValue(func() stderrLog {
	level := new(Level)
	level.least.Store(int32(zerolog.WarnLevel) - int32(zerolog.InfoLevel)) // for reports of dropped lines
	w := NewWriter(os.Stderr)
	log, err := w.Logger(level, "auto", IsTerminal(os.Stderr))
	if err != nil {
		panic(err) // New knows the format
	}
	return stderrLog{log: log.Level(zerolog.ErrorLevel), writer: w}
})
