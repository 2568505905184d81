package instances_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// slow is a store whose writes take their time, and are done even if the caller has
// stopped waiting, as in boltstore.
type slow struct {
	instances.Memory
	asked   chan struct{} // gets a value when a write waits
	release chan struct{} // and takes one to let it go on
}

func (s *slow) wait(ctx context.Context, write func() error) error {
	done := make(chan error, 1)
	go func() {
		s.asked <- struct{}{}
		<-s.release
		done <- write()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) Put(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	err = s.wait(ctx, func() (err error) {
		next, err = s.Memory.Put(context.WithoutCancel(ctx), key, value, revision)
		return err
	})
	return next, err
}

func (s *slow) Delete(ctx context.Context, key string, revision uint64) error {
	return s.wait(ctx, func() error { return s.Memory.Delete(context.WithoutCancel(ctx), key, revision) })
}

// TestWhoDoesNotWait: what a caller begins and gives up leaves an instance that
// the next caller can go on with.
func TestWhoDoesNotWait(t *testing.T) {
	store := &slow{asked: make(chan struct{}), release: make(chan struct{})}
	s := start(t, instances.Options{Store: store})
	spec := instances.Spec{ID: "a", Type: "counter"}
	label := func(value string) func(*instances.Spec) error {
		return func(spec *instances.Spec) error { spec.Labels = map[string]string{"x": value}; return nil }
	}
	changes := []struct {
		name string
		do   func(ctx context.Context, value string) error
	}{
		{"create", func(ctx context.Context, _ string) error { _, _, err := s.Create(ctx, spec); return err }},
		{"update", func(ctx context.Context, value string) error {
			_, err := s.Update(ctx, "a", instances.AnyRevision, label(value))
			return err
		}},
		{"drain", func(ctx context.Context, _ string) error { return s.Drain(ctx, "a") }},
		{"resume", func(ctx context.Context, _ string) error { _, err := s.Resume(ctx, "a"); return err }},
	}
	for _, c := range changes {
		ctx, giveUp := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- c.do(ctx, "1") }()
		<-store.asked
		giveUp()
		select {
		case <-gone: // without the store
		case <-time.After(20 * time.Millisecond):
		}
		store.release <- struct{}{}
		again := make(chan error, 1)
		go func() { again <- c.do(t.Context(), "2") }()
		for waiting := true; waiting; {
			select {
			case <-store.asked:
				store.release <- struct{}{}
			case err := <-again:
				waiting = false
				if err != nil {
					t.Fatalf("%s after one that was given up: %v", c.name, err)
				}
			}
		}
		if c.name == "drain" {
			s.await(t, "a", instances.Stopped)
		}
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.Delete(t.Context(), "a", instances.AnyRevision) }()
	<-store.asked
	store.release <- struct{}{}
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
}

// ponderer takes its time to be configured.
type ponderer struct {
	release chan struct{}
	begun   *atomic.Int64
}

type pondered struct {
	Step int `json:"step"`
}

func (ponderer) Channels() []*channels.Channel { return nil }

func (p ponderer) Configure(context.Context, pondered) error {
	p.begun.Add(1)
	<-p.release
	return nil
}

// TestConfigureThatHangs: nobody knows what such an instance has taken over, so
// it begins anew with what it had.
func TestConfigureThatHangs(t *testing.T) {
	t.Parallel()
	s := start(t, instances.Options{StartTimeout: 2 * time.Second, Grace: time.Second})
	release := make(chan struct{})
	var begun, built atomic.Int64
	s.Register(instances.Define("ponderer", "Ponders.", func(*instances.Instance, pondered) (instances.Logic, error) {
		built.Add(1)
		return ponderer{release, &begun}, nil
	}))
	defer close(release)
	s.create(t, instances.Spec{ID: "a", Type: "ponderer", Config: json.RawMessage(`{"step":1}`)})
	_, err := s.Update(t.Context(), "a", instances.AnyRevision, func(spec *instances.Spec) error {
		spec.Config = json.RawMessage(`{"step":2}`)
		return nil
	})
	if begun.Load() != 1 || err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a change that hangs: %v", err)
	}
	waitFor(t, "a new life", func() bool { return built.Load() == 2 })
	if i := s.await(t, "a", instances.Running); i.Revision != 1 || string(i.Config) != `{"step":1}` {
		t.Errorf("%+v", i)
	}
}
