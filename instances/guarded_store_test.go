package instances_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
)

// rudeStore panics while it is told to.
type rudeStore struct {
	instances.Memory
	rude atomic.Bool
}

func (s *rudeStore) panics() {
	if s.rude.Load() {
		panic("in the store")
	}
}

func (s *rudeStore) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	s.panics()
	return s.Memory.Put(ctx, key, value, revision)
}

func (s *rudeStore) List(ctx context.Context, prefix string) ([]instances.Entry, error) {
	s.panics()
	return s.Memory.List(ctx, prefix)
}

// A store that panics is a store that fails: of whoever asks, and of nobody
// where the manager asks by itself.
func TestStoreThatPanics(t *testing.T) {
	store := new(rudeStore)
	s := start(t, instances.Options{Store: store})
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
	store.rude.Store(true)
	_, _, err := s.Create(t.Context(), instances.Spec{ID: "b", Type: "counter"})
	if err == nil || !strings.Contains(err.Error(), "in the store") {
		t.Errorf("create: %v", err)
	}
	if err := s.Delete(t.Context(), "a", instances.AnyRevision); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the instance to go", func() bool { _, err := s.Get("a"); return errors.Is(err, instances.ErrNotFound) })
	store.rude.Store(false)
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
}
