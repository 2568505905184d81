package channels_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// TestErrorsWithoutALogger: without a Logger, errors such as the panic of a
// handler are logged to standard error, and nothing else.
func TestErrorsWithoutALogger(t *testing.T) {
	const child = "CHANNELS_WITHOUT_A_LOGGER"
	if os.Getenv(child) != "" {
		host := channelstest.Start(t, channels.Options{}) // which has a logger: its guest has none
		e, err := channels.NewEndpoint(channels.Options{Host: host.Endpoint})
		if err != nil {
			t.Fatal(err)
		}
		e.Socket("/socket", channels.SocketOptions{}, room())
		host.Route("/guest", func(below string) (*channels.Endpoint, string, error) { return e, "/" + below, nil })
		c := channelstest.Connect(t, host, "/guest/socket").Join("room:1", nil)
		c.Push("crash", nil)
		c.AssertError()
		return
	}
	var stderr bytes.Buffer
	command := exec.Command(os.Args[0], "-test.run=^TestErrorsWithoutALogger$")
	command.Env, command.Stderr = append(os.Environ(), child+"=1"), &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if text := stderr.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"panic":"boom"`) || !strings.Contains(text, "channel crashed") {
		t.Errorf("standard error: %s", text)
	}
}
