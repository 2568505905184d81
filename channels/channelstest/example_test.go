package channelstest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

type message struct {
	Body string `json:"body"`
}

func room() *channels.Channel {
	ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "new_msg", func(c *channels.Context, m message) (struct{}, error) {
		if m.Body == "" {
			return struct{}{}, channels.Errorf("a message needs a body")
		}
		return struct{}{}, c.Broadcast("new_msg", m)
	})
	return ch
}

// A test of a chat room, with two clients and without a network.
func Example() {
	testRoom := func(t testing.TB) {
		endpoint := channelstest.Start(t, channels.Options{})
		endpoint.Socket("/socket", channels.SocketOptions{}, room())

		ada := channelstest.Connect(t, endpoint, "/socket").Join("room:lobby", nil)
		bob := channelstest.Connect(t, endpoint, "/socket").Join("room:lobby", nil)
		ada.Push("new_msg", message{Body: "hello"}).AssertReply("ok", nil)
		bob.AssertBroadcast("new_msg", message{Body: "hello"})
		ada.Push("new_msg", message{}).AssertReply("error", map[string]string{"reason": "a message needs a body"})
		bob.RefutePush("new_msg", nil)
		ada.Leave()
	}
	fmt.Println("passed:", passes(testRoom))
	// Output: passed: true
}

// passes runs a test outside of go test.
func passes(test func(t testing.TB)) bool {
	t := &standIn{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(t)
	}()
	<-done
	for _, f := range t.cleanups {
		f()
	}
	return t.failure == ""
}

type standIn struct {
	testing.TB
	cleanups []func()
	failure  string
}

func (t *standIn) Helper()                           {}
func (t *standIn) Cleanup(f func())                  { t.cleanups = append([]func(){f}, t.cleanups...) }
func (t *standIn) Context() context.Context          { return context.Background() }
func (t *standIn) Log(...any)                        {}
func (t *standIn) Logf(string, ...any)               {}
func (t *standIn) Errorf(format string, args ...any) { t.failure = fmt.Sprintf(format, args...) }
func (t *standIn) Fatalf(format string, args ...any) {
	t.failure = fmt.Sprintf(format, args...)
	panic(t.failure)
}
