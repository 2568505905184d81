package channelstest_test

import (
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

// watchedTest keeps what is written to the log of a test.
type watchedTest struct {
	testing.TB
	logtest.Buffer
}

func (w *watchedTest) Output() io.Writer { return w }

// TestLog: the log of a test says why a channel crashed, unless the test has a
// logger of its own.
func TestLog(t *testing.T) {
	crash := func(o channels.Options) string {
		w := &watchedTest{TB: t}
		e := channelstest.Start(w, o)
		e.Socket("/socket", channels.SocketOptions{}, echo())
		lobby := channelstest.Connect(t, e, "/socket").Join("echo:a", nil)
		lobby.Push("mistyped", nil)
		lobby.AssertPush("phx_error", nil)
		return w.String()
	}
	if got := crash(channels.Options{}); !strings.Contains(got, "no handler for event mistyped") {
		t.Errorf("the log of the test is %q", got)
	}
	silent := zerolog.Nop()
	if got := crash(channels.Options{Logger: &silent}); got != "" {
		t.Errorf("with a logger of its own: %q", got)
	}
}
