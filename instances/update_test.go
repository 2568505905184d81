package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// set is a change of one field, for Update.
func set(change func(*instances.Spec)) func(*instances.Spec) error {
	return func(s *instances.Spec) error { change(s); return nil }
}

func config2(text string) func(*instances.Spec) error {
	return set(func(s *instances.Spec) { s.Config = json.RawMessage(text) })
}

// TestUpdate changes what runs, as gently as the change allows.
func TestUpdate(t *testing.T) {
	s := start(t, instances.Options{})
	first := s.create(t, instances.Spec{ID: "a", Type: "counter"})
	client := channelstest.Connect(t, s.endpoint, "/socket/a")
	ch := client.Join("counter", nil)

	second, err := s.Update(t.Context(), "a", first.Revision, config2(`{"step":10}`))
	if err != nil || second.Revision <= first.Revision || string(second.Config) != `{"step":10}` {
		t.Fatalf("%+v, %v", second, err)
	}
	ch.Push("count", nil).AssertReply("ok", map[string]int64{"n": 10}) // the same logic, the same client
	_, err = s.Update(t.Context(), "a", first.Revision, config2(`{"step":20}`))
	var stale *instances.RevisionError
	if !errors.As(err, &stale) || stale.Have != second.Revision {
		t.Errorf("an old revision: %v", err)
	}
	for _, config := range []string{`{"step":101}`, `{"step":13}`} { // the schema's no, the type's no
		_, err = s.Update(t.Context(), "a", instances.AnyRevision, config2(config))
		var invalid fielderr.List
		if !errors.As(err, &invalid) || invalid[0].Field != "/config/step" {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err = s.Update(t.Context(), "a", instances.AnyRevision, set(func(s *instances.Spec) { s.ID = "b" })); err == nil {
		t.Error("the id was changed")
	}
	if i, _ := s.Get("a"); i.Revision != second.Revision || string(i.Config) != `{"step":10}` {
		t.Errorf("a refused change has changed it: %+v", i)
	}
	same, err := s.Update(t.Context(), "a", second.Revision, set(func(*instances.Spec) {}))
	if err != nil || same.Revision != second.Revision {
		t.Errorf("no change: %+v, %v", same, err)
	}
	_, err = s.Update(t.Context(), "a", second.Revision, set(func(s *instances.Spec) {
		s.Labels, s.Limits.MaxConnections = map[string]string{"team": "red"}, 1
	}))
	if err != nil {
		t.Fatal(err)
	}
	ch.Push("count", nil).AssertReply("ok", map[string]int64{"n": 20})
	assertRefused(t, s, "/socket/a", http.StatusServiceUnavailable) // the second connection
}

// TestUpdateRestarts where the type cannot change by itself.
func TestUpdateRestarts(t *testing.T) {
	s, f := startFaulty(t, instances.Options{})
	i := s.create(t, instances.Spec{ID: "a", Type: "faulty"})
	client := channelstest.Connect(t, s.endpoint, "/socket/a")
	if i, err := s.Update(t.Context(), "a", i.Revision, config2(`{"rate":"1ms"}`)); err != nil || i.State != instances.Running {
		t.Fatalf("%+v, %v", i, err)
	}
	client.AssertClosed(1012)
	waitFor(t, "a tick", func() bool { return f.ticks.Load() > 0 })
	if f.starts.Load() != 2 || f.stops.Load() != 1 {
		t.Errorf("%d starts, %d stops", f.starts.Load(), f.stops.Load())
	}
	if stats, _ := s.Stats("a"); stats.Crashes != 0 || stats.Restarts != 0 || stats.Connected != 1 {
		t.Errorf("a change counts as a crash: %+v", stats)
	}
}

// TestUpdateMendsAFailedOne: a change starts it anew.
func TestUpdateMendsAFailedOne(t *testing.T) {
	s, _ := startFaulty(t, instances.Options{MaxCrashes: 1})
	if _, _, err := s.Create(t.Context(), instances.Spec{ID: "a", Type: "faulty", Config: json.RawMessage(`{"start":"error"}`)}); err != nil {
		t.Fatal(err)
	}
	i := s.await(t, "a", instances.Failed)
	i, err := s.Update(t.Context(), "a", i.Revision, config2(`{}`))
	if err != nil || i.State != instances.Running || i.Reason != "" {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestRestore: another manager on the same store has what the first has
// acknowledged, and what its types have saved.
func TestRestore(t *testing.T) {
	store := new(instances.Memory)
	s, _ := startFaulty(t, instances.Options{Store: store})
	kept := s.create(t, instances.Spec{ID: "kept", Type: "counter", Config: json.RawMessage(`{"step":5}`), Labels: map[string]string{"a": "b"}, IdleTTL: units.Duration(time.Hour)})
	s.create(t, instances.Spec{ID: "drained", Type: "counter"})
	s.create(t, instances.Spec{ID: "deleted", Type: "counter"})
	s.create(t, instances.Spec{ID: "unknown", Type: "faulty"})
	if _, err := s.Declare(t.Context(), instances.Spec{ID: "declared", Type: "counter"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"kept", "deleted", "declared"} {
		for _, signal := range []string{"add", "save"} {
			if _, err := s.Signal(t.Context(), id, signal, json.RawMessage("7")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(s.Drain(t.Context(), "drained"), s.Delete(t.Context(), "deleted", instances.AnyRevision)); err != nil {
		t.Fatal(err)
	}
	s.await(t, "drained", instances.Stopped)
	if _, err := store.Put(t.Context(), "state.orphan.n", []byte("1"), 0); err != nil { // of one that was killed while it went
		t.Fatal(err)
	}
	s.close(t)()

	again := start(t, instances.Options{Store: store})
	if _, err := again.Declare(t.Context(), instances.Spec{ID: "declared", Type: "counter"}); err != nil {
		t.Fatal(err)
	}
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	states := map[string]instances.State{}
	page, _ := again.List(instances.Filter{})
	for _, i := range page {
		states[i.ID] = i.State
	}
	want := map[string]instances.State{
		"kept": instances.Running, "drained": instances.Stopped, "unknown": instances.Failed, "declared": instances.Running,
	}
	if fmt.Sprint(states) != fmt.Sprint(want) {
		t.Errorf("restored %v, want %v", states, want)
	}
	i, err := again.Get("kept")
	if err != nil || i.Revision != kept.Revision || !i.Created.Equal(kept.Created) || string(i.Config) != `{"step":5}` || i.IdleTTL != kept.IdleTTL {
		t.Errorf("kept %+v, was %+v, %v", i, kept, err)
	}
	for _, id := range []string{"kept", "declared"} {
		if n, err := again.Signal(t.Context(), id, "add", json.RawMessage("1")); err != nil || string(n) != "8" {
			t.Errorf("%s has %s, %v; want what was saved and one", id, n, err)
		}
	}
	left, err := store.List(t.Context(), "state.")
	if err != nil || len(left) != 2 || left[0].Key != "state.declared.n" || left[1].Key != "state.kept.n" {
		t.Errorf("states left: %+v, %v", left, err)
	}
	if i, err := again.Resume(t.Context(), "drained"); err != nil || i.State != instances.Running {
		t.Fatalf("%+v, %v", i, err)
	}
}

// TestDeclared: what the configuration has asked for is nobody else's.
func TestDeclared(t *testing.T) {
	s := start(t, instances.Options{Default: "default"})
	i, err := s.Declare(t.Context(), instances.Spec{ID: "default", Type: "counter"})
	if err != nil || !i.Declared || s.Path("default") != "/socket" || s.Path("a") != "/socket/a" {
		t.Fatalf("%+v, %v", i, err)
	}
	channelstest.Connect(t, s.endpoint, "/socket").Join("counter", nil)
	channelstest.Connect(t, s.endpoint, "/socket/default").Join("counter", nil)
	_, err = s.Update(t.Context(), "default", instances.AnyRevision, config2(`{"step":2}`))
	for what, err := range map[string]error{
		"update": err, "delete": s.Delete(t.Context(), "default", instances.AnyRevision), "drain": s.Drain(t.Context(), "default"),
	} {
		if !errors.Is(err, instances.ErrDeclared) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if stats, err := s.Stats("default"); err != nil || stats.Connections != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// TestIdle: an instance that is no longer used goes by itself, one with a
// client stays.
// It takes 3 s: idle instances are looked for once a second.
func TestIdle(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	s := start(t, instances.Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	events, stop := s.Watch(100)
	defer stop()
	for _, id := range []string{"used", "unused"} {
		s.create(t, instances.Spec{ID: id, Type: "counter", IdleTTL: units.Duration(time.Minute)})
	}
	s.create(t, instances.Spec{ID: "for-good", Type: "counter"})
	client := channelstest.Connect(t, s.endpoint, "/socket/used")
	client.Join("counter", nil)
	awaitGone := func(id string) {
		t.Helper()
		waitFor(t, id+" to go", func() bool {
			now.Add(20)
			_, err := s.Get(id)
			return errors.Is(err, instances.ErrNotFound)
		})
	}
	awaitGone("unused")
	if _, err := s.Get("used"); err != nil {
		t.Errorf("the used one: %v", err)
	}
	client.Close()
	awaitGone("used")
	if i, err := s.Get("for-good"); err != nil || i.State != instances.Running {
		t.Errorf("%+v, %v", i, err)
	}
	if n := count(events, "unused", instances.EventDeleted); n != 1 {
		t.Errorf("told %d times of the end", n)
	}
}

// TestEnd: a type ends its own instance from within a hook.
func TestEnd(t *testing.T) {
	s := start(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
	if _, err := s.Signal(t.Context(), "a", "end", nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { _, err := s.Get("a"); return errors.Is(err, instances.ErrNotFound) })
	assertRefused(t, s, "/socket/a", http.StatusNotFound)
	s.create(t, instances.Spec{ID: "a", Type: "counter"}) // the id is free again
}

// TestList pages through what a filter selects.
func TestList(t *testing.T) {
	s, _ := startFaulty(t, instances.Options{})
	for i := range 7 {
		s.create(t, instances.Spec{ID: fmt.Sprint("c", i), Type: "counter", Labels: map[string]string{"parity": []string{"even", "odd"}[i%2]}})
	}
	s.create(t, instances.Spec{ID: "f", Type: "faulty"})
	if err := s.Drain(t.Context(), "c6"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "c6", instances.Stopped)
	for want, f := range map[string]instances.Filter{
		"[c0 c1 c2 c3 c4 c5 c6 f]": {Limit: 3},
		"[f]":                      {Type: "faulty"},
		"[c0 c2 c4 c6]":            {Labels: map[string]string{"parity": "even"}, Limit: 1},
		"[c6]":                     {State: instances.Stopped},
		"[c4 c5 c6 f]":             {After: "c3"},
		"[]":                       {Type: "counter", Labels: map[string]string{"parity": "odd", "no": "such"}},
	} {
		ids := []string{}
		for pages := 0; ; pages++ {
			page, next := s.List(f)
			for _, i := range page {
				ids = append(ids, i.ID)
			}
			if f.Limit > 0 && len(page) > f.Limit || pages > 10 {
				t.Fatalf("%+v: page of %d", f, len(page))
			}
			if next == "" {
				break
			}
			f.After = next
		}
		if fmt.Sprint(ids) != want {
			t.Errorf("%+v: %v, want %s", f, ids, want)
		}
	}
}

// guest is a type that decides who connects, and hears who comes and goes.
type guest struct {
	mu   sync.Mutex
	seen []string
}

func (g *guest) Channels() []*channels.Channel { return nil }

func (g *guest) Connect(_ context.Context, s *channels.Socket, r *channels.Request) error {
	if r.Params.Get("name") == "" {
		return errors.New("no name")
	}
	s.SetID("guest:" + r.Params.Get("name"))
	return nil
}

func (g *guest) note(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, what)
}

func (g *guest) Connected(s *channels.Socket) { g.note("+" + s.ID()) }
func (g *guest) Gone(s *channels.Socket)      { g.note("-" + s.ID()) }

func (g *guest) has(want ...string) func() bool {
	return func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return slices.Equal(g.seen, want)
	}
}

// TestClients: a type decides about its clients and hears of them in order.
func TestClients(t *testing.T) {
	s := start(t, instances.Options{})
	g := new(guest)
	s.Register(instances.Define("guests", "Guests.", func(*instances.Instance, struct{}) (instances.Logic, error) { return g, nil }))
	s.create(t, instances.Spec{ID: "a", Type: "guests"})
	assertRefused(t, s, "/socket/a", http.StatusForbidden)
	assertRefused(t, s, "/socket/b", http.StatusNotFound)
	client := channelstest.Connect(t, s.endpoint, "/socket/a?name=ada")
	waitFor(t, "ada", g.has("+guest:ada"))
	sockets, err := s.FindSockets("a", channels.SocketQuery{})
	if err != nil || len(sockets) != 1 || sockets[0].ID != "guest:ada" || sockets[0].Transport != "websocket" {
		t.Errorf("%+v, %v", sockets, err)
	}
	if err := s.Disconnect("a", "guest:ada"); err != nil {
		t.Fatal(err)
	}
	client.AssertClosed(1001)
	waitFor(t, "the end of ada", g.has("+guest:ada", "-guest:ada"))
}

// TestUnknown: what is not there is said to be not there.
func TestUnknown(t *testing.T) {
	s := start(t, instances.Options{})
	ctx := t.Context()
	_, get := s.Get("x")
	_, update := s.Update(ctx, "x", instances.AnyRevision, config2("{}"))
	_, signal := s.Signal(ctx, "x", "add", nil)
	_, stats := s.Stats("x")
	_, topics := s.Topics("x", 0)
	_, who := s.Presence("x", "room")
	_, resume := s.Resume(ctx, "x")
	for i, err := range []error{get, update, signal, stats, topics, who, resume, s.Delete(ctx, "x", 1), s.Drain(ctx, "x"), s.Broadcast("x", "a", "b", nil), s.Disconnect("x", "y")} {
		if !errors.Is(err, instances.ErrNotFound) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestClosed: a closed manager makes nothing.
func TestClosed(t *testing.T) {
	s := start(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
	events, _ := s.Watch(10)
	client := channelstest.Connect(t, s.endpoint, "/socket/a")
	s.close(t)()
	client.AssertClosed(1012)
	if _, _, err := s.Create(t.Context(), instances.Spec{ID: "b", Type: "counter"}); !errors.Is(err, instances.ErrClosed) {
		t.Errorf("create: %v", err)
	}
	for range events { // until it is closed
	}
	if _, err := s.Signal(t.Context(), "a", "add", json.RawMessage("1")); !errors.Is(err, instances.ErrNotRunning) {
		t.Errorf("signal: %v", err)
	}
}

// TestManyAtOnce: creates, changes and deletes of the same ids side by side
// leave each in one state, and nothing behind. Each of them has returned when
// what it started runs.
func TestManyAtOnce(t *testing.T) {
	store := new(instances.Memory)
	s := start(t, instances.Options{Store: store})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for round := range 30 {
				id := fmt.Sprint("i", (worker+round)%5)
				var err error
				switch (worker + round/2) % 4 {
				case 0, 1:
					_, _, err = s.Create(t.Context(), instances.Spec{ID: id, Type: "counter"})
				case 2:
					_, err = s.Update(t.Context(), id, instances.AnyRevision, config2(fmt.Sprintf(`{"step":%d}`, 20+round)))
				case 3:
					err = s.Delete(t.Context(), id, instances.AnyRevision)
				}
				var conflict *instances.ConflictError
				if err != nil && !errors.Is(err, instances.ErrNotFound) && !errors.As(err, &conflict) {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	all.Wait()
	page, _ := s.List(instances.Filter{})
	kept, err := store.List(t.Context(), "spec.")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all removals", func() bool { page, _ = s.List(instances.Filter{}); return len(page) == len(kept) })
	for n, e := range kept {
		if "spec."+page[n].ID != e.Key || page[n].Revision != e.Revision || page[n].State != instances.Running {
			t.Errorf("the manager has %+v, the store %s at %d", page[n], e.Key, e.Revision)
		}
	}
}

// TestReconfigureWithHooksThatAreRefused: the instance keeps the hooks that it has.
func TestReconfigureWithHooksThatAreRefused(t *testing.T) {
	s := start(t, instances.Options{Wrap: func(_ *instances.Instance, spec instances.Spec, so channels.SocketOptions) (channels.SocketOptions, func(), error) {
		if string(spec.Hooks) == `["bad"]` {
			return so, nil, errors.New("a bad hook")
		}
		return so, nil, nil
	}})
	spec := instances.Spec{ID: "default", Type: "counter", Hooks: json.RawMessage(`["good"]`)}
	before, err := s.Declare(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Hooks = json.RawMessage(`["bad"]`)
	if err := s.Reconfigure(t.Context(), channels.Limits{}, spec); err == nil || !strings.Contains(err.Error(), "a bad hook") {
		t.Errorf("reconfigured: %v", err)
	}
	if i, err := s.Get("default"); err != nil || string(i.Hooks) != `["good"]` || i.Revision != before.Revision {
		t.Errorf("%+v, %v", i, err)
	}
}

// deadliner takes whatever it is configured with, at the very moment at which its time is over.
type deadliner struct{ step *atomic.Int64 }

func (deadliner) Channels() []*channels.Channel { return nil }

func (d deadliner) Configure(_ context.Context, c pondered) error {
	time.Sleep(10 * time.Second) // the default of Options.StartTimeout
	d.step.Store(int64(c.Step))
	return nil
}

// TestConfigureAtTheLastMoment: the logic has the configuration that the spec has, whoever was
// first.
func TestConfigureAtTheLastMoment(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, instances.Options{})
			var step atomic.Int64
			s.Register(instances.Define("deadliner", "Is late.", func(_ *instances.Instance, c pondered) (instances.Logic, error) {
				step.Store(int64(c.Step))
				return deadliner{&step}, nil
			}))
			s.create(t, instances.Spec{ID: "a", Type: "deadliner", Config: json.RawMessage(`{"step":1}`)})
			_, err := s.Update(t.Context(), "a", instances.AnyRevision, config2(`{"step":2}`))
			time.Sleep(time.Minute) // a life that was ended is followed by another
			synctest.Wait()
			i, getErr := s.Get("a")
			if want := fmt.Sprintf(`{"step":%d}`, step.Load()); getErr != nil || string(i.Config) != want {
				t.Fatalf("the spec has %s, the logic %s (%v, %v)", i.Config, want, err, getErr)
			}
		})
	}
}
