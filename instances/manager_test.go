package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// patience is how long a test waits for what must happen on a loaded machine;
// only failing tests wait that long. It is shorter than the default of DrainTimeout.
const patience = 28 * time.Second

// config is that of the test type.
type config struct {
	Step  int            `json:"step,omitempty" jsonschema:"minimum=1,maximum=100"`
	Every units.Duration `json:"every,omitempty"`
}

// counter is a type with all hooks: it counts, and breaks when it is told to.
type counter struct {
	in   *instances.Instance
	step atomic.Int64
	n    atomic.Int64
	c    config
}

func (c *counter) Channels() []*channels.Channel {
	ch := channels.Handle("counter", func(*channels.Context, channels.Payload) (map[string]int64, error) {
		return map[string]int64{"n": c.n.Load()}, nil
	})
	channels.On(ch, "count", func(*channels.Context, channels.Payload) (map[string]int64, error) {
		n := map[string]int64{"n": c.n.Add(c.step.Load())}
		return n, c.in.Broadcast("counter", "counted", n)
	})
	channels.On(ch, "panic", func(*channels.Context, channels.Payload) (channels.NoReply, error) { panic("told to") })
	return []*channels.Channel{ch}
}

func (c *counter) Signal(ctx context.Context, name string, data json.RawMessage) (any, error) {
	switch name {
	case "add":
		var by int64
		if err := json.Unmarshal(data, &by); err != nil {
			return nil, &instances.SignalError{Reason: "data must be a number"}
		}
		return c.n.Add(by), nil
	case "panic":
		panic("told to")
	case "save":
		return nil, c.in.Save(ctx, "n", fmt.Append(nil, c.n.Load()))
	case "end":
		c.in.End("told to")
		return nil, nil
	}
	return nil, &instances.SignalError{Reason: "there are add, panic, save and end"}
}

func (c *counter) Start(ctx context.Context) error {
	saved, err := c.in.Load(ctx, "n")
	if errors.Is(err, instances.ErrNoState) {
		return nil
	}
	if err != nil {
		return err
	}
	var n int64
	err = json.Unmarshal(saved, &n)
	c.n.Store(n)
	return err
}

func (c *counter) Configure(_ context.Context, changed config) error {
	if changed.Step == 13 {
		return instances.Invalid("/step", "is not lucky")
	}
	c.step.Store(int64(max(1, changed.Step)))
	return nil
}

func newCounter(in *instances.Instance, c config) (instances.Logic, error) {
	logic := &counter{in: in, c: c}
	logic.step.Store(int64(max(1, c.Step)))
	return logic, nil
}

// server is a manager on an endpoint in memory.
type server struct {
	*instances.Manager
	endpoint *channelstest.Endpoint
}

func start(t testing.TB, o instances.Options) *server {
	t.Helper()
	s := &server{endpoint: channelstest.Start(t, channels.Options{Drain: channels.Drain{Batch: 1000, Interval: time.Millisecond, Timeout: patience}})}
	if o.Backoff == 0 {
		o.Backoff = time.Millisecond
	}
	s.Manager = instances.New(s.endpoint.Endpoint, o)
	s.Register(instances.Define("counter", "Counts.", newCounter))
	t.Cleanup(s.close(t))
	return s
}

func (s *server) close(t testing.TB) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil && !errors.Is(err, instances.ErrClosed) {
			t.Errorf("closing the manager: %v", err)
		}
	}
}

func (s *server) create(t testing.TB, spec instances.Spec) instances.Info {
	t.Helper()
	i, created, err := s.Create(t.Context(), spec)
	if err != nil || !created || i.State != instances.Running {
		t.Fatalf("creating %s: %+v, %v, %v", spec.ID, i, created, err)
	}
	return i
}

func (s *server) await(t testing.TB, id string, state instances.State) instances.Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	i, err := s.Await(ctx, id, state)
	if err != nil {
		t.Fatalf("%s is not %s: %+v, %v", id, state, i, err)
	}
	return i
}

func TestLife(t *testing.T) {
	s := start(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "counter", Config: json.RawMessage(`{"step":2}`)})
	s.create(t, instances.Spec{ID: "b", Type: "counter"})
	a, b := channelstest.Connect(t, s.endpoint, "/socket/a"), channelstest.Connect(t, s.endpoint, "/socket/b")
	ca, cb := a.Join("counter", nil), b.Join("counter", nil)
	ca.Push("count", nil).AssertReply("ok", map[string]int64{"n": 2})
	ca.AssertBroadcast("counted", map[string]int64{"n": 2})
	cb.Push("count", nil).AssertReply("ok", map[string]int64{"n": 1})
	cb.AssertBroadcast("counted", map[string]int64{"n": 1})
	result, err := s.Signal(t.Context(), "a", "add", json.RawMessage("40"))
	if err != nil || string(result) != "42" {
		t.Fatalf("signal: %s, %v", result, err)
	}
	if err := s.Broadcast("a", "counter", "hello", json.RawMessage(`{"from":"outside"}`)); err != nil {
		t.Fatal(err)
	}
	ca.AssertBroadcast("hello", map[string]string{"from": "outside"})
	stats, err := s.Stats("a")
	if err != nil || stats.Connections != 1 || stats.Channels != 1 || stats.Topics != 1 || stats.MessagesIn != 2 {
		t.Errorf("stats of a: %+v, %v", stats, err)
	}
	if err := s.Drain(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "a", instances.Stopped)
	if err := s.Delete(t.Context(), "a", instances.AnyRevision); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.Await(ctx, "a", instances.Failed); !errors.Is(err, instances.ErrNotFound) {
		t.Errorf("a after its removal: %v", err)
	}
	cb.Push("count", nil).AssertReply("ok", map[string]int64{"n": 2})
}
