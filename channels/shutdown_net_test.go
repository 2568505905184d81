package channels_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// ends counts the channels that have terminated, each after a while.
func ends(terminated *atomic.Int32) *channels.Channel {
	ch := room()
	ch.Terminate(func(_ *channels.Context, reason error) {
		time.Sleep(5 * time.Millisecond)
		if errors.Is(reason, channels.ErrClosed) {
			terminated.Add(1)
		}
	})
	return ch
}

func shutdown(t *testing.T, s *server) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Shutdown(ctx)
}

func TestShutdownInBatches(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		const sockets, batch, interval = 20, 4, 60 * time.Millisecond
		o.Drain = channels.Drain{Batch: batch, Interval: interval, Timeout: patience}
		before := leaktest.Descriptors()
		s := newServer(t, o)
		var terminated atomic.Int32
		s.Socket("/socket", channels.SocketOptions{}, ends(&terminated))
		peers := make([]*peer, sockets)
		for i := range peers {
			peers[i] = s.dial(t)
			peers[i].join("room:a", "{}")
			peers[i].join("room:b", "{}")
		}
		idle := s.raw(t) // has not said what it wants
		codes := make(chan uint16, sockets)
		for _, p := range peers {
			go func() { codes <- p.closeCode() }()
		}
		began := time.Now()
		if err := shutdown(t, s); err != nil {
			t.Error(err)
		}
		// Five batches have four pauses between them.
		if took := time.Since(began); took < (sockets/batch-1)*interval {
			t.Errorf("shutdown in %v: no pace", took)
		}
		if n := terminated.Load(); n != 2*sockets {
			t.Errorf("%d of %d channels have terminated when Shutdown returns", n, 2*sockets)
		}
		for range peers {
			if code := <-codes; code != 1012 {
				t.Errorf("closed with %d", code)
			}
		}
		if _, err := io.Copy(io.Discard, idle.Conn()); isTimeout(err) {
			t.Error("an idle connection stays")
		}
		idle.Drop()
		assertShutDown(t, s, before)
	})
}

// assertShutDown is what holds after any shutdown.
func assertShutDown(t *testing.T, s *server, descriptors int) {
	t.Helper()
	if err := shutdown(t, s); err != nil {
		t.Errorf("a second shutdown: %v", err)
	}
	if _, err := s.Listen("127.0.0.1:0"); err == nil {
		t.Error("a listener after the shutdown")
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		if _, err := s.Serve(l); err == nil {
			t.Error("a listener of our own after the shutdown")
		}
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Error("the refused listener was not closed")
		}
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
	if n := s.Stats(); n.Sockets != 0 || n.Channels != 0 || n.Network.Connections != 0 {
		t.Errorf("left: %+v", n)
	}
	assertNothingLeft(t)
	if after := leaktest.SettledDescriptors(before(descriptors)); descriptors >= 0 && after > before(descriptors) {
		t.Errorf("%d descriptors before, %d after", descriptors, after)
	}
}

// before adds to the number of descriptors those that Go opens once, on first use.
func before(descriptors int) int { return descriptors + 2 }

func TestShutdownWithoutCloseFrame(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Drain = channels.Drain{Batch: 100, Interval: time.Millisecond, Timeout: patience, NoCloseFrame: true}
		descriptors := leaktest.Descriptors()
		s := newServer(t, o)
		var terminated atomic.Int32
		s.Socket("/socket", channels.SocketOptions{}, ends(&terminated))
		p := s.dial(t)
		p.join("room:1", "{}")
		code := make(chan uint16)
		go func() { code <- p.closeCode() }()
		if err := shutdown(t, s); err != nil {
			t.Error(err)
		}
		if got := <-code; got != 0 {
			t.Errorf("closed with %d, want no Close frame", got)
		}
		if terminated.Load() != 1 {
			t.Error("the channel has not terminated")
		}
		assertShutDown(t, s, descriptors)
	})
}

// A client that does not answer the Close frame, a callback that does not come
// back and a request that goes on are waited for, and not for ever.
func TestShutdownWaits(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		release, entered := make(chan struct{}), make(chan struct{}, 2)
		o.Drain = quickDrain
		o.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-release
			io.WriteString(w, "done") // the client checks
		})
		descriptors := leaktest.Descriptors()
		s := newServer(t, o)
		var ended atomic.Bool
		ch := room()
		channels.On(ch, "block", func(*channels.Context, text) (channels.NoReply, error) {
			entered <- struct{}{}
			<-release
			return channels.NoReply{}, nil
		})
		ch.Terminate(func(*channels.Context, error) { ended.Store(true) })
		s.Socket("/socket", channels.SocketOptions{}, ch)
		web := s.raw(t)
		web.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		p := s.dial(t)
		ref := p.join("room:1", "{}")
		p.push(ref, "room:1", "block", "{}")
		<-entered
		<-entered
		go p.closeCode()
		down := make(chan error, 1)
		go func() { down <- shutdown(t, s) }()
		waitFor(t, "the socket to be closed", func() bool { return s.Stats().Sockets == 0 })
		if _, err := wstest.Dial(s.addr, "/socket/websocket", nil); err == nil {
			t.Error("a new socket while draining")
		}
		select {
		case err := <-down:
			t.Errorf("shut down while a callback and a request go on: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		if status, body := web.answer(); status != 200 || body != "done" {
			t.Errorf("the request under way: %d %q", status, body)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
		if !ended.Load() {
			t.Error("the channel has not terminated")
		}
		web.Drop()
		assertShutDown(t, s, descriptors)
	})
}

// TestDrainBatch: the number of sockets that are closed at a time is that of all
// loops and all guests together.
func TestDrainBatch(t *testing.T) {
	o := channels.Options{Loops: 4, Drain: channels.Drain{Batch: 3, Interval: time.Hour}}
	s := newServer(t, o)
	s.Socket("/socket", channels.SocketOptions{}, room())
	const sockets = 24
	var closed atomic.Int32
	first := make(chan struct{}, sockets)
	var readers sync.WaitGroup
	for range sockets {
		p := s.dial(t)
		p.join("room:1", "{}")
		readers.Go(func() {
			if p.closeCode() == 1012 {
				closed.Add(1)
				first <- struct{}{}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	for range o.Drain.Batch {
		<-first
	}
	if n := s.Stats().Sockets; n != sockets-int64(o.Drain.Batch) {
		t.Errorf("%d sockets are left after the first batch", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	readers.Wait()
	if n := closed.Load(); n != int32(o.Drain.Batch) {
		t.Errorf("%d sockets were closed in one batch of %d", n, o.Drain.Batch)
	}
	assertNothingLeft(t)
}

// When the time is over, what is left is cut off.
func TestShutdownTimeout(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Drain = channels.Drain{Batch: 1, Interval: time.Hour}
		s := newServer(t, o)
		s.Socket("/socket", channels.SocketOptions{}, room())
		peers := []*peer{s.dial(t), s.dial(t), s.dial(t), s.dial(t)}
		for _, p := range peers {
			p.join("room:1", "{}")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		for _, p := range peers {
			p.closeCode() // fails if the connection stays
		}
		if n := s.Stats(); n.Sockets != 0 || n.Channels != 0 || n.Network.Connections != 0 {
			t.Errorf("left: %+v", n)
		}
		assertNothingLeft(t)
	})
}

func TestListenAndServe(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Drain = quickDrain
		var said bytes.Buffer
		logger := zerolog.New(&said)
		o.Logger = &logger
		e, err := channels.NewEndpoint(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := e.ListenAndServe(ctx, "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
		if !regexp.MustCompile(`"level":"info",.*"addr":"127.0.0.1:\d+".*"message":"listening"`).Match(said.Bytes()) {
			t.Errorf("logged %q, want where it listens", &said)
		}
		e, err = channels.NewEndpoint(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.ListenAndServe(context.Background(), "127.0.0.1:no port"); err == nil {
			t.Error("served a nonsense address")
		}
		// An endpoint that could not listen has no goroutine left only after a
		// shutdown.
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
