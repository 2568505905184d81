package channelstest

import (
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// testLog writes lines to the log of a test until end.
type testLog struct {
	t testing.TB

	mu    sync.Mutex
	ended bool // guarded by mu: testing panics at a line after the end of its test
}

func (l *testLog) logger() *zerolog.Logger {
	level := new(logging.Level)
	if err := level.Set("warn"); err != nil {
		panic(err) // the level is one that Set knows
	}
	log, err := logging.New(l, level, "text", false)
	if err != nil {
		panic(err) // and the format one that New knows
	}
	return &log
}

// Write implements io.Writer.
func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return len(line), nil
	}
	return l.t.Output().Write(line)
}

func (l *testLog) endTest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
