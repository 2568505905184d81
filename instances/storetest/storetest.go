// Package storetest has what every instances.Store must do.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/instances"
)

// Run tests the stores that open returns, each of which must be empty.
func Run(t *testing.T, open func(t *testing.T) instances.Store) {
	for name, test := range map[string]func(*testing.T, instances.Store){
		"revisions": testRevisions, "list": testList, "values": testValues,
		"one of many wins": testRace, "canceled": testCanceled,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	t.Run("model", func(t *testing.T) { testModel(t, open) })
}

// Reopen tests that a store that is closed and opened again still has
// everything, and continues its revisions. open opens the same store each time.
func Reopen(t *testing.T, open func() instances.Store) {
	ctx := t.Context()
	s := open()
	put(t, s, "spec.a", "1", 0)
	kept := put(t, s, "spec.b", "2", 0)
	last := put(t, s, "spec.c", "3", 0)
	must(t, s.Delete(ctx, "spec.c", last))
	must(t, s.Close())
	s = open()
	defer s.Close()
	assertGet(t, s, "spec.b", "2", kept)
	assertMissing(t, s, "spec.c")
	if again := put(t, s, "spec.c", "4", 0); again <= last {
		t.Errorf("revision %d after %d: revisions must grow over a restart and a removal", again, last)
	}
}

func testRevisions(t *testing.T, s instances.Store) {
	defer s.Close()
	ctx := t.Context()
	assertMissing(t, s, "spec.a")
	first := put(t, s, "spec.a", "1", 0)
	assertGet(t, s, "spec.a", "1", first)
	refuse(t, s, "spec.a", 0)       // it is there
	refuse(t, s, "spec.a", first+9) // and at another revision
	refuse(t, s, "spec.b", first)   // this one is not there
	second := put(t, s, "spec.a", "2", first)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	refuse(t, s, "spec.a", first)
	third := put(t, s, "spec.a", "3", instances.AnyRevision)
	assertGet(t, s, "spec.a", "3", third)
	if err := s.Delete(ctx, "spec.a", second); !errors.Is(err, instances.ErrKeyRevision) {
		t.Errorf("delete at an old revision: %v", err)
	}
	assertGet(t, s, "spec.a", "3", third)
	must(t, s.Delete(ctx, "spec.a", third))
	assertMissing(t, s, "spec.a")
	for _, revision := range []uint64{third, instances.AnyRevision} {
		if err := s.Delete(ctx, "spec.a", revision); !errors.Is(err, instances.ErrKeyNotFound) {
			t.Errorf("delete of nothing at %d: %v", revision, err)
		}
	}
	if again := put(t, s, "spec.a", "4", 0); again <= third {
		t.Errorf("revision %d after %d and a removal", again, third)
	}
	put(t, s, "spec.new", "5", instances.AnyRevision)
}

func testList(t *testing.T, s instances.Store) {
	defer s.Close()
	for _, key := range []string{"state.a.x", "spec.b", "spec.a", "state.ab.x", "spec.a-b", "speck"} {
		put(t, s, key, key, 0)
	}
	for prefix, want := range map[string][]string{
		"spec.": {"spec.a", "spec.a-b", "spec.b"}, "state.a.": {"state.a.x"}, "nothing": nil,
		"": {"spec.a", "spec.a-b", "spec.b", "speck", "state.a.x", "state.ab.x"},
	} {
		list, err := s.List(t.Context(), prefix)
		must(t, err)
		var keys []string
		for _, e := range list {
			keys = append(keys, e.Key)
			if string(e.Value) != e.Key || e.Revision == 0 {
				t.Errorf("list of %q has %+v", prefix, e)
			}
		}
		if !slices.Equal(keys, want) {
			t.Errorf("list of %q: %q, want %q", prefix, keys, want)
		}
	}
}

// testValues: a value is the caller's on both ways, and may be empty or large.
func testValues(t *testing.T, s instances.Store) {
	defer s.Close()
	value := []byte("abc")
	revision, err := s.Put(t.Context(), "spec.a", value, 0)
	must(t, err)
	value[0] = 'x'
	assertGet(t, s, "spec.a", "abc", revision)
	e, err := s.Get(t.Context(), "spec.a")
	must(t, err)
	e.Value[0] = 'y'
	list, err := s.List(t.Context(), "spec.")
	must(t, err)
	list[0].Value[0] = 'z'
	assertGet(t, s, "spec.a", "abc", revision)
	assertGet(t, s, "spec.empty", "", put(t, s, "spec.empty", "", 0))
	large := string(make([]byte, instances.MaxStateBytes))
	assertGet(t, s, "state.large", large, put(t, s, "state.large", large, 0))
}

// testRace: of many that change a key from one revision, one does.
func testRace(t *testing.T, s instances.Store) {
	defer s.Close()
	const rounds, writers = 10, 8
	revision := uint64(0)
	for round := range rounds {
		revisions := make([]uint64, writers)
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				next, err := s.Put(t.Context(), "spec.a", fmt.Append(nil, round, i), revision)
				switch {
				case err == nil:
					revisions[i] = next
				case !errors.Is(err, instances.ErrKeyRevision):
					t.Error(err)
				}
			})
		}
		all.Wait()
		won := slices.DeleteFunc(slices.Clone(revisions), func(r uint64) bool { return r == 0 })
		if len(won) != 1 {
			t.Fatalf("%d of %d writers won: %v", len(won), writers, revisions)
		}
		revision = won[0]
		assertGet(t, s, "spec.a", fmt.Sprint(round, slices.Index(revisions, revision)), revision)
	}
}

func testCanceled(t *testing.T, s instances.Store) {
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "spec.a", nil, 0); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("put without time: %v", err)
	}
}

// testModel plays random changes on a store and on a map.
func testModel(t *testing.T, open func(*testing.T) instances.Store) {
	s := open(t)
	defer s.Close()
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		list, err := s.List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		model := map[string]instances.Entry{} // the store goes on from check to check
		for _, e := range list {
			model[e.Key] = e
		}
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			key := rapid.SampledFrom([]string{"spec.a", "spec.b", "state.a.x"}).Draw(t, "key")
			have := model[key].Revision
			revision := rapid.SampledFrom([]uint64{0, have, have + 1, instances.AnyRevision}).Draw(t, "revision")
			if rapid.Bool().Draw(t, "put") {
				value := rapid.String().Draw(t, "value")
				next, err := s.Put(ctx, key, []byte(value), revision)
				if fits := revision == instances.AnyRevision || revision == have; fits != (err == nil) {
					t.Fatalf("put %s at %d over %d: %v", key, revision, have, err)
				} else if fits {
					model[key] = instances.Entry{Key: key, Value: []byte(value), Revision: next}
				}
			} else {
				err := s.Delete(ctx, key, revision)
				if fits := have != 0 && (revision == instances.AnyRevision || revision == have); fits != (err == nil) {
					t.Fatalf("delete %s at %d of %d: %v", key, revision, have, err)
				} else if fits {
					delete(model, key)
				}
			}
			if e, err := s.Get(ctx, key); err == nil && (e.Revision != model[key].Revision || string(e.Value) != string(model[key].Value)) {
				t.Fatalf("%s is %+v, want %+v", key, e, model[key])
			} else if (err != nil) != (model[key].Revision == 0) {
				t.Fatalf("get %s: %v, want %+v", key, err, model[key])
			}
		}
	})
}

func put(t *testing.T, s instances.Store, key, value string, revision uint64) uint64 {
	t.Helper()
	next, err := s.Put(t.Context(), key, []byte(value), revision)
	must(t, err)
	return next
}

func refuse(t *testing.T, s instances.Store, key string, revision uint64) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, []byte("refused"), revision); !errors.Is(err, instances.ErrKeyRevision) {
		t.Errorf("put %s at revision %d: %v", key, revision, err)
	}
}

func assertGet(t *testing.T, s instances.Store, key, value string, revision uint64) {
	t.Helper()
	e, err := s.Get(t.Context(), key)
	if err != nil || e.Key != key || string(e.Value) != value || e.Revision != revision {
		t.Errorf("%s is %.100q at %d, %v; want %.100q at %d", e.Key, e.Value, e.Revision, err, value, revision)
	}
}

func assertMissing(t *testing.T, s instances.Store, key string) {
	t.Helper()
	if e, err := s.Get(t.Context(), key); !errors.Is(err, instances.ErrKeyNotFound) {
		t.Errorf("%s is there: %+v, %v", key, e, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
