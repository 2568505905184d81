package channels_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// stuckBus is a bus whose methods wait.
type stuckBus struct {
	pubsub.Bus
	wait func()
}

func (b stuckBus) Close() error { b.wait(); return b.Bus.Close() }

// A shutdown keeps its deadline whatever blocks, even callbacks that must not block. What
// was blocked ends as soon as it can.
func TestShutdownKeepsItsDeadline(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"On on all loops", "Subscribe", "Closed", "Terminate", "Handler", "Bus"} {
		t.Run(what, func(t *testing.T) {
			bothSlow(t, func(t *testing.T, o channels.Options) { testBlockedShutdown(t, o, what) })
		})
	}
}

func testBlockedShutdown(t *testing.T, o channels.Options, what string) {
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	entered := make(chan struct{}, 100)
	wait := func(here string) {
		if here == what {
			entered <- struct{}{}
			<-release
		}
	}
	o.Drain.Interval, o.Drain.Batch, o.Drain.Timeout = time.Millisecond, 1000, time.Minute
	o.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { wait("Handler") })
	o.Bus = stuckBus{pubsub.NewHub().Node(), func() { wait("Bus") }}
	s := newServer(t, o)
	ch := room()
	ch.Terminate(func(*channels.Context, error) { wait("Terminate") })
	quick := channels.Handle("loop:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil }).OnLoop()
	channels.On(quick, "block", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		wait("On on all loops")
		return channels.NoReply{}, nil
	})
	s.Socket("/socket", channels.SocketOptions{Closed: func(*channels.Socket) { wait("Closed") }}, ch, quick)
	s.Subscribe("room:heard", func(string, string, channels.Payload) { wait("Subscribe") })
	peers := make(map[*peer]string)
	for range 2 * o.Loops { // they are dealt out to the loops in turn
		p := s.dial(t)
		p.join("room:1", "{}")
		peers[p] = p.join("loop:1", "{}")
	}
	switch what {
	case "Subscribe":
		if err := s.Broadcast("room:heard", "x", struct{}{}); err != nil {
			t.Fatal(err)
		}
		<-entered
	case "On on all loops":
		for p, ref := range peers {
			p.push(ref, "loop:1", "block", "{}")
		}
		for range o.Loops {
			<-entered
		}
	case "Handler":
		web := s.raw(t)
		web.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-entered
	}
	const timeout = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	err := s.Shutdown(ctx)
	// The rest is what a loaded machine may need; the drain's own timeout is longer.
	if took := time.Since(began); took > timeout+patience/2 {
		t.Errorf("shut down in %v, with %v", took, timeout)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v, want that its time was over", err)
	}
	if what != "Bus" {
		select {
		case <-entered:
		default:
			if what == "Closed" || what == "Terminate" {
				t.Error("nothing was blocked")
			}
		}
	}
	let()
	last, cancelLast := context.WithTimeout(context.Background(), patience)
	defer cancelLast()
	if err := s.Shutdown(last); err != nil {
		t.Errorf("the end that came later: %v", err)
	}
	if n := s.Stats(); n.Sockets != 0 || n.Channels != 0 || n.Network.Connections != 0 {
		t.Errorf("left: %+v", n)
	}
}

// ListenAndServe returns within Drain.Timeout although a loop is blocked.
func TestListenAndServeKeepsDrainTimeout(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Drain = channels.Drain{Batch: 1, Interval: time.Millisecond, Timeout: 300 * time.Millisecond}
		e, err := channels.NewEndpoint(o)
		if err != nil {
			t.Fatal(err)
		}
		release, entered := make(chan struct{}), make(chan struct{})
		e.Subscribe("a", func(string, string, channels.Payload) { close(entered); <-release })
		if err := e.Broadcast("a", "x", struct{}{}); err != nil {
			t.Fatal(err)
		}
		<-entered
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- e.ListenAndServe(ctx, "127.0.0.1:0") }()
		cancel()
		began := time.Now()
		select {
		case err := <-served:
			if err == nil {
				t.Error("a clean shutdown of a blocked loop")
			}
		case <-time.After(patience):
			t.Error("ListenAndServe does not return")
		}
		if took := time.Since(began); took > o.Drain.Timeout+patience/2 {
			t.Errorf("it took %v", took)
		}
		close(release)
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Listening can be tried again after a failure, and says why it cannot after a
// shutdown.
func TestListenAndServeAgain(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Drain = quickDrain
		taken := newServer(t, o)
		defer shutdown(t, taken)
		e, err := channels.NewEndpoint(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, addr := range []string{taken.addr, "127.0.0.1:no port", taken.addr} {
			if err := e.ListenAndServe(ctx, addr); err == nil {
				t.Fatalf("serves %s", addr)
			}
		}
		if err := e.ListenAndServe(ctx, "127.0.0.1:0"); err != nil {
			t.Errorf("after three that failed: %v", err)
		}
		const want = "channels: the endpoint has been shut down and cannot serve again: make another with NewEndpoint"
		if err := e.ListenAndServe(ctx, "127.0.0.1:0"); err == nil || err.Error() != want {
			t.Errorf("after a shutdown: %v", err)
		}
	})
}
