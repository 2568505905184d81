package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/units"
)

// faults is the configuration of a type that goes wrong as it is told.
type faults struct {
	Start string         `json:"start,omitempty" jsonschema:"enum=panic,enum=error,enum=hang,enum=exit"`
	Tick  string         `json:"tick,omitempty" jsonschema:"enum=panic,enum=error,enum=hang,enum=exit"`
	Go    string         `json:"go,omitempty" jsonschema:"enum=panic,enum=error,enum=hang,enum=exit"`
	Stop  string         `json:"stop,omitempty" jsonschema:"enum=panic,enum=error,enum=hang,enum=exit"`
	Build string         `json:"build,omitempty" jsonschema:"enum=panic,enum=error"`
	Rate  units.Duration `json:"rate,omitempty"`
}

// faulty makes instances of faults. What hangs, hangs until the test ends.
type faulty struct {
	release chan struct{}
	starts  atomic.Int64
	stops   atomic.Int64
	ticks   atomic.Int64
}

type faultyLogic struct {
	*faulty
	in *instances.Instance
	c  faults
}

func (f *faulty) do(what string) error {
	switch what {
	case "panic":
		panic("told to")
	case "error":
		return errors.New("told to")
	case "hang":
		<-f.release
	case "exit":
		runtime.Goexit()
	}
	return nil
}

func (f *faulty) build(in *instances.Instance, c faults) (instances.Logic, error) {
	return &faultyLogic{f, in, c}, f.do(c.Build)
}

func (f *faultyLogic) Channels() []*channels.Channel {
	return []*channels.Channel{channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})}
}

func (f *faultyLogic) Start(context.Context) error {
	f.starts.Add(1)
	if f.c.Go != "" {
		f.in.Go("a goroutine", func(context.Context) error { return f.do(f.c.Go) })
	}
	return f.do(f.c.Start)
}

func (f *faultyLogic) TickEvery() time.Duration { return time.Duration(f.c.Rate) }

func (f *faultyLogic) Tick(time.Time) error {
	f.ticks.Add(1)
	return f.do(f.c.Tick)
}

func (f *faultyLogic) Stop(context.Context) error {
	f.stops.Add(1)
	return f.do(f.c.Stop)
}

func startFaulty(t *testing.T, o instances.Options) (*server, *faulty) {
	t.Helper()
	f := &faulty{release: make(chan struct{})}
	s := start(t, o)
	s.Register(instances.Define("faulty", "Goes wrong as it is told.", f.build))
	t.Cleanup(func() { close(f.release) })
	return s, f
}

// TestFailures: whatever goes wrong is restarted, and after too many fails the
// instance with the reason; the one beside it notices nothing.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct{ config, reason string }{
		"start panics":     {`{"start":"panic"}`, "Start panicked: told to"},
		"start errs":       {`{"start":"error"}`, "start: told to"},
		"start hangs":      {`{"start":"hang"}`, "deadline exceeded"},
		"a tick panics":    {`{"tick":"panic","rate":"1ms"}`, "Tick panicked: told to"},
		"a tick errs":      {`{"tick":"error","rate":"1ms"}`, "tick: told to"},
		"a goroutine errs": {`{"go":"error"}`, "told to"},
		"one panics":       {`{"go":"panic"}`, "a goroutine panicked: told to"},
		"start exits":      {`{"start":"exit"}`, "Start panicked: runtime.Goexit"},
		"a tick exits":     {`{"tick":"exit","rate":"1ms"}`, "Tick panicked: runtime.Goexit"},
		"one exits":        {`{"go":"exit"}`, "a goroutine panicked: runtime.Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := instances.Options{MaxCrashes: 2, Grace: 20 * time.Millisecond}
			if strings.Contains(c.config, `"hang"`) {
				o.StartTimeout = 2 * time.Second // which the good one has, too
			}
			s, f := startFaulty(t, o)
			events, stop := s.Watch(100)
			defer stop()
			s.create(t, instances.Spec{ID: "good", Type: "counter"})
			good := channelstest.Connect(t, s.endpoint, "/socket/good").Join("counter", nil)
			if _, _, err := s.Create(t.Context(), instances.Spec{ID: "bad", Type: "faulty", Config: json.RawMessage(c.config)}); err != nil {
				t.Fatal(err)
			}
			i := s.await(t, "bad", instances.Failed)
			if !strings.Contains(i.Reason, c.reason) {
				t.Errorf("failed with reason %q, want %q", i.Reason, c.reason)
			}
			stats, err := s.Stats("bad")
			if err != nil || stats.Crashes != 3 || stats.Restarts != 2 || f.starts.Load() != 3 || f.stops.Load() != 0 {
				t.Errorf("%+v, %d starts, %d stops, %v; want 3 crashes, 2 restarts", stats, f.starts.Load(), f.stops.Load(), err)
			}
			assertRefused(t, s, "/socket/bad", http.StatusServiceUnavailable)
			good.Push("count", nil).AssertReply("ok", map[string]int64{"n": 1})
			if stats, _ := s.Stats("good"); stats.Crashes != 0 {
				t.Errorf("the good one has crashed: %+v", stats)
			}
			if n := count(events, "bad", instances.EventCrashed); n != 3 {
				t.Errorf("told of %d crashes", n)
			}
		})
	}
}

func assertRefused(t *testing.T, s *server, target string, status int) {
	t.Helper()
	_, err := channelstest.TryConnect(t, s.endpoint, target, nil)
	var refused *channelstest.RefusedError
	if !errors.As(err, &refused) || refused.Status != status {
		t.Errorf("%s: %v, want %d", target, err, status)
	}
}

// count is how many of the events that have come are of an instance and a kind.
func count(events <-chan instances.Event, id string, kind instances.EventKind) (n int) {
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return n
			}
			if e.ID == id && e.Kind == kind {
				n++
			}
		default:
			return n
		}
	}
}

// TestCrashAndRecovery: a signal that panics costs its instance one restart,
// from which its clients come back.
func TestCrashAndRecovery(t *testing.T) {
	s := start(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
	client := channelstest.Connect(t, s.endpoint, "/socket/a")
	client.Join("counter", nil).Push("count", nil).AssertReply("ok", map[string]int64{"n": 1})
	if _, err := s.Signal(t.Context(), "a", "save", nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.Signal(t.Context(), "a", "panic", nil)
	var p *instances.PanicError
	if !errors.As(err, &p) || p.Hook != "Signal" || p.Value != "told to" {
		t.Fatalf("the caller got %v", err)
	}
	client.AssertClosed(1012)
	waitFor(t, "the restart", func() bool { stats, _ := s.Stats("a"); return stats.Restarts == 1 })
	s.await(t, "a", instances.Running)
	again := channelstest.Connect(t, s.endpoint, "/socket/a").Join("counter", nil)
	again.Push("count", nil).AssertReply("ok", map[string]int64{"n": 2}) // what was saved, and one
	again.Push("panic", nil)
	again.AssertError()
	stats, err := s.Stats("a")
	if err != nil || stats.Crashes != 1 || stats.ChannelCrashes != 1 || stats.Connected != 2 || stats.Connections != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// TestHangingHooks: what does not return is left alone and shown, and holds up
// neither the end of its instance nor anybody else.
func TestHangingHooks(t *testing.T) {
	for name, config := range map[string]string{
		"a tick": `{"tick":"hang","rate":"1ms"}`, "stop": `{"stop":"hang"}`, "a goroutine": `{"go":"hang"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := startFaulty(t, instances.Options{DrainTimeout: 2 * time.Second, Grace: time.Second})
			events, stop := s.Watch(100)
			defer stop()
			s.create(t, instances.Spec{ID: "bad", Type: "faulty", Config: json.RawMessage(config)})
			client := channelstest.Connect(t, s.endpoint, "/socket/bad")
			if strings.Contains(config, "tick") {
				waitFor(t, "a tick", func() bool { return f.ticks.Load() > 0 })
			}
			if err := s.Drain(t.Context(), "bad"); err != nil {
				t.Fatal(err)
			}
			s.await(t, "bad", instances.Stopped)
			client.AssertClosed(1012)
			if stats, err := s.Stats("bad"); err != nil || stats.Leaked != 1 {
				t.Errorf("%+v, %v; want one leaked goroutine", stats, err)
			}
			if n := count(events, "bad", instances.EventLeaked); n != 1 {
				t.Errorf("told of %d leaks", n)
			}
			f.release <- struct{}{}
			waitFor(t, "the goroutine to be missed no more", func() bool { stats, _ := s.Stats("bad"); return stats.Leaked == 0 })
		})
	}
}

// TestTicks come at their rate, and stop with their instance.
func TestTicks(t *testing.T) {
	s, f := startFaulty(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "faulty", Config: json.RawMessage(`{"rate":"1ms"}`)})
	waitFor(t, "ten ticks", func() bool { return f.ticks.Load() >= 10 })
	if err := s.Drain(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "a", instances.Stopped)
	after := f.ticks.Load()
	time.Sleep(10 * time.Millisecond)
	if n := f.ticks.Load(); n != after || f.stops.Load() != 1 {
		t.Errorf("%d ticks and %d stops after the end", n-after, f.stops.Load())
	}
	if i, err := s.Resume(t.Context(), "a"); err != nil || i.State != instances.Running {
		t.Fatalf("%+v, %v", i, err)
	}
	waitFor(t, "ticks after it was resumed", func() bool { return f.ticks.Load() > after })
}

// TestBuildFails: a type that does not take its configuration, or breaks over
// it, leaves nothing behind.
func TestBuildFails(t *testing.T) {
	s, _ := startFaulty(t, instances.Options{})
	for _, config := range []string{`{"build":"panic"}`, `{"build":"error"}`} {
		if _, _, err := s.Create(t.Context(), instances.Spec{ID: "bad", Type: "faulty", Config: json.RawMessage(config)}); err == nil || !strings.Contains(err.Error(), "told to") {
			t.Errorf("%s: %v", config, err)
		}
		if _, err := s.Get("bad"); !errors.Is(err, instances.ErrNotFound) {
			t.Errorf("%s: it is there: %v", config, err)
		}
	}
	s.create(t, instances.Spec{ID: "bad", Type: "faulty"}) // the id is free
}

var waitFor = waittest.For
