package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
	"github.com/mycelium-rt/mycelium/instances/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) instances.Store { return open(t, t.TempDir()) })
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by open")
	storetest.Reopen(t, func() instances.Store { return open(t, dir) })
}

// TestOnlyOneProcess: the second is told, and not kept waiting for ever.
func TestOnlyOneProcess(t *testing.T) {
	boltstore.SetLockTimeout(t, 50*time.Millisecond)
	dir := t.TempDir()
	first := open(t, dir)
	defer first.Close()
	if _, err := boltstore.Open(dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("the second got %v", err)
	}
}

// TestNotAStore: what is no store is refused by name and left as it is.
func TestNotAStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, boltstore.File)
	text := strings.Repeat("not a database. ", 1<<10)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("opened a text: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != text {
		t.Errorf("the file was changed: %v", err)
	}
}

// TestDamaged: whatever page of the file is overwritten, that is an error that
// says so, and no panic.
func TestDamaged(t *testing.T) {
	whole := t.TempDir()
	s := open(t, whole)
	for i := range 300 {
		if _, err := s.Put(t.Context(), fmt.Sprintf("spec.%d", i), make([]byte, 100), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(whole, boltstore.File))
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	told := 0
	for at := 0; at < len(good); at += page {
		dir := t.TempDir()
		bad := slices.Clone(good)
		for i := at; i < at+page; i++ {
			bad[i] ^= 0x5a
		}
		if err := os.WriteFile(filepath.Join(dir, boltstore.File), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := boltstore.Open(dir)
		if err == nil {
			_, err = s.List(t.Context(), "")
			if closeErr := s.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		}
		if err != nil {
			told++
			if !strings.Contains(err.Error(), "boltstore: ") {
				t.Errorf("page %d: %v", at/page, err)
			}
		}
	}
	if told == 0 {
		t.Error("no page mattered")
	}
}

// TestManyAtOnce: changes that wait for one another are all done.
func TestManyAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	const writers = 500
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			if _, err := s.Put(t.Context(), fmt.Sprint("spec.", i), fmt.Append(nil, i), 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := s.List(t.Context(), "spec.")
	if err != nil || len(list) != writers {
		t.Fatalf("%d of %d are there: %v", len(list), writers, err)
	}
	seen := map[uint64]bool{}
	for _, e := range list {
		if "spec."+string(e.Value) != e.Key || seen[e.Revision] {
			t.Errorf("%+v", e)
		}
		seen[e.Revision] = true
	}
}

// BenchmarkPut is what an acknowledgement costs, alone and for many at once.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 100} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := boltstore.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Put(b.Context(), "spec.a", []byte("{}"), instances.AnyRevision); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// TestFilesThatAreNoStore: nothing that was there before is taken for a new and
// empty store.
func TestFilesThatAreNoStore(t *testing.T) {
	foreign := func(path string) error {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
		return errors.Join(err, db.Close())
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"empty":          {func(path string) error { return os.WriteFile(path, nil, 0o600) }, "is empty: restore it from a copy, or remove it to begin without instances"},
		"of others":      {foreign, "is not a store of instances: restore it from a copy"},
		"a text":         {func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) }, "invalid database"},
		"a directory":    {func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		"cut to nothing": {func(path string) error { return errors.Join(filled(path), os.Truncate(path, 0)) }, "is empty"},
		"cut":            {func(path string) error { return errors.Join(filled(path), os.Truncate(path, 100)) }, "invalid database"},
	} {
		dir := t.TempDir()
		if err := c.make(filepath.Join(dir, boltstore.File)); err != nil {
			t.Fatal(err)
		}
		s, err := boltstore.Open(dir)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func filled(path string) error {
	s, err := boltstore.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	_, err = s.Put(context.Background(), "spec.a", []byte("x"), 0)
	return errors.Join(err, s.Close())
}

// TestOpenAtOnce: of several processes that make the store at once one gets it,
// and the others wait for it.
func TestOpenAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := boltstore.Open(dir)
			if err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			if _, err := s.Put(t.Context(), fmt.Sprint("spec.", i), nil, 0); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err := boltstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if list, err := s.List(t.Context(), "spec."); err != nil || len(list) != 8 {
		t.Errorf("%d keys, %v", len(list), err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
