// Package boltstore stores instances in a file, with bbolt. One process at a
// time can open a store. When a method has returned, its change is durable.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mycelium-rt/mycelium/instances"
)

// File is the name of the store's file in its directory.
const File = "instances.db"

// lockTimeout is how long Open waits for another process to release the file: a
// server that is being replaced needs a moment. Only tests change it.
var lockTimeout = 5 * time.Second

// commitBatch bounds how many changes share one write to the disk, so that none
// waits for too many others.
const commitBatch = 1000

// Every value is preceded by the revision of its key, in 8 bytes. The sequence
// of the bucket is the last revision given; it does not decrease when a key is
// removed.
var bucketName = []byte("instances")

const revisionSize = 8

// Errors of files that this package has not written, or that are damaged.
var (
	errDamaged = errors.New("boltstore: the file is damaged")
	errEmpty   = errors.New("the file is empty: restore it from a copy, or remove it to begin without instances")
	errForeign = errors.New("the file is not a store of instances: restore it from a copy, or choose another directory")
)

// Store implements instances.Store.
type Store struct {
	db *bbolt.DB

	// Guarded by mu.
	mu      sync.Mutex
	waiting []*change
	writing bool // a caller is writing, and will take what waits next
}

var _ instances.Store = (*Store)(nil)

// Open opens the store in dir, and creates both if they do not exist. Other
// users get no access to dir, because specs may contain secrets. A file that
// exists must be a store: an empty file is an error, because whatever emptied
// it has removed all instances.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("boltstore: %w", err)
	}
	path := filepath.Join(dir, File)
	err := Check(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(dir, path)
	}
	if err != nil {
		return nil, err
	}
	db, err := open(path)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("boltstore: %s is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	err = intact(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket(bucketName) == nil {
				return errForeign
			}
			return nil
		})
	})
	if err == nil {
		err = syncDir(dir) // makes the file's name durable too
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boltstore: %s: %w", path, err), db.Close())
	}
	return &Store{db: db}, nil
}

// Check reports what is wrong with the store in dir, as far as can be seen
// while another process may use it. The error is fs.ErrNotExist if there is no
// store.
func Check(dir string) error {
	path := filepath.Join(dir, File)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("boltstore: %w", err)
	case info.IsDir():
		return fmt.Errorf("boltstore: %s is a directory", path)
	case info.Size() == 0:
		return fmt.Errorf("boltstore: %s: %w", path, errEmpty)
	}
	return nil
}

func open(path string) (db *bbolt.DB, err error) {
	err = intact(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
		return err
	})
	return db, err
}

// create makes an empty store under another name and renames it when it is
// complete, so that a crash leaves no file that Open would refuse. If two
// processes do so at once, the file of the first one stays.
func create(dir, path string) error {
	f, err := os.CreateTemp(dir, File+".new-*")
	if err != nil {
		return fmt.Errorf("boltstore: %w", err)
	}
	name := f.Name()
	defer os.Remove(name) //nolint:errcheck // only a temporary name
	err = f.Close()
	if err == nil {
		err = fill(name)
	}
	if err == nil {
		err = os.Link(name, path) // unlike a rename it never replaces a file
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = os.Rename(name, path) // a file system without links
		} else {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("boltstore: making %s: %w", path, err)
	}
	return nil
}

// fill turns an empty file into a store.
func fill(name string) error {
	db, err := open(name)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
	return errors.Join(err, db.Close())
}

// intact runs f, which reads or writes the file. If the file is damaged, bbolt
// panics or reads beyond its end.
func intact(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w, restore it from a copy: %v", errDamaged, v)
		}
	}()
	return f()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements [instances.Store].
func (s *Store) Get(_ context.Context, key string) (e instances.Entry, err error) {
	err = intact(func() error {
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			e, err = entry([]byte(key), tx.Bucket(bucketName).Get([]byte(key)))
			return err
		})
	})
	return e, err
}

// entry decodes a copy of a stored value, which belongs to its transaction.
func entry(key, value []byte) (instances.Entry, error) {
	switch {
	case value == nil:
		return instances.Entry{}, instances.ErrKeyNotFound
	case len(value) < revisionSize:
		return instances.Entry{}, fmt.Errorf("%w: key %q", errDamaged, key)
	}
	return instances.Entry{
		Key: string(key), Value: slices.Clone(value[revisionSize:]), Revision: binary.BigEndian.Uint64(value),
	}, nil
}

// List implements [instances.Store].
func (s *Store) List(ctx context.Context, prefix string) (list []instances.Entry, err error) {
	err = intact(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketName).Cursor()
			for key, value := c.Seek([]byte(prefix)); key != nil && bytes.HasPrefix(key, []byte(prefix)); key, value = c.Next() {
				e, err := entry(key, value)
				if err != nil {
					return err
				}
				list = append(list, e)
			}
			return ctx.Err()
		})
	})
	return list, err
}

// change is a Put or a Delete on its way to the disk.
type change struct {
	apply    func(b *bbolt.Bucket) (uint64, error)
	revision uint64
	err      error
	done     chan struct{}
}

// Put implements [instances.Store]. The change may be made even if ctx ends.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.commit(ctx, func(b *bbolt.Bucket) (uint64, error) {
		if err := expect(b, key, revision); err != nil {
			return 0, err
		}
		next, err := b.NextSequence()
		if err != nil {
			return 0, err
		}
		stored := binary.BigEndian.AppendUint64(make([]byte, 0, revisionSize+len(value)), next)
		return next, b.Put([]byte(key), append(stored, value...))
	})
}

// Delete implements [instances.Store].
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	_, err := s.commit(ctx, func(b *bbolt.Bucket) (uint64, error) {
		if b.Get([]byte(key)) == nil {
			return 0, instances.ErrKeyNotFound
		}
		if err := expect(b, key, revision); err != nil {
			return 0, err
		}
		return 0, b.Delete([]byte(key))
	})
	return err
}

// expect fails unless the key is at revision; 0 means that the key must not
// exist.
func expect(b *bbolt.Bucket, key string, revision uint64) error {
	if revision == instances.AnyRevision {
		return nil
	}
	var have uint64 // stays 0 if the key does not exist
	if value := b.Get([]byte(key)); len(value) >= revisionSize {
		have = binary.BigEndian.Uint64(value)
	}
	if have != revision {
		return instances.ErrKeyRevision
	}
	return nil
}

// commit writes a change, together with all that wait while another write is in
// progress: the first of them writes for all.
func (s *Store) commit(ctx context.Context, apply func(*bbolt.Bucket) (uint64, error)) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c := &change{apply: apply, done: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	first := !s.writing
	s.writing = true
	s.mu.Unlock()
	if first {
		go s.write()
	}
	select {
	case <-c.done:
		return c.revision, c.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// write writes until no change waits.
func (s *Store) write() {
	for {
		s.mu.Lock()
		n := min(len(s.waiting), commitBatch)
		batch := s.waiting[:n:n]
		s.waiting = s.waiting[n:]
		if n == 0 {
			s.waiting, s.writing = nil, false
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.writeBatch(batch)
	}
}

// writeBatch writes changes in one transaction. Changes that are refused by
// their revision have no effect; any other error applies to all of them.
func (s *Store) writeBatch(batch []*change) {
	err := intact(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketName)
			for _, c := range batch {
				c.revision, c.err = c.apply(b)
				if c.err != nil && !errors.Is(c.err, instances.ErrKeyRevision) && !errors.Is(c.err, instances.ErrKeyNotFound) {
					return c.err
				}
			}
			return nil
		})
	})
	for _, c := range batch {
		if err != nil {
			c.revision, c.err = 0, fmt.Errorf("boltstore: %w", err)
		}
		close(c.done)
	}
}

// Close implements [instances.Store]. It waits for writes in progress.
func (s *Store) Close() error { return s.db.Close() }
