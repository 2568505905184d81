package channels_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

// logged is what an endpoint has logged.
type logged struct{ logtest.Buffer }

// TestLogOfACrash: a fault of the application is logged with its stack, and a
// fault of a client in a short line, however long its message is.
func TestLogOfACrash(t *testing.T) {
	log := new(logged)
	logger := zerolog.New(log).Level(zerolog.WarnLevel)
	e := channelstest.Start(t, channels.Options{Logger: &logger})
	e.Socket("/socket", channels.SocketOptions{}, room())
	c := channelstest.Connect(t, e, "/socket").Join("room:1", nil)
	c.Push("no such event"+strings.Repeat("x", 100_000), nil)
	c.AssertError()
	if text := log.String(); len(text) > 500 || !strings.Contains(text, `"level":"warn"`) || !strings.Contains(text, "no handler for event no such eventx") {
		t.Errorf("a client's fault: %d bytes, %.500s", len(text), text)
	}
	c = channelstest.Connect(t, e, "/socket").Join("room:2", nil)
	c.Push("crash", nil)
	c.AssertError()
	if text := log.String(); !strings.Contains(text, `"level":"error"`) || !strings.Contains(text, "channel_test.go") {
		t.Errorf("a fault of ours: %s", text)
	}
}
