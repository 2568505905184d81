package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/natsstore"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

const (
	// openEvery is how long one attempt to open the store takes at most, and the pause
	// before the next.
	openEvery = 10 * time.Second
	openPause = time.Second
	// storeWait is how long a request waits for the store to be opened.
	storeWait = 5 * time.Second
)

// sharedStore is the store that the nodes of a cluster have in common. It is opened in the background, because
// that takes a majority of the nodes, and this one serves its clients without. Until then Watch
// waits, and other methods wait for storeWait and fail.
type sharedStore struct {
	// Static after openShared.
	transport *natscluster.Transport
	options   natsstore.Options
	log       *logging.Log
	cancel    context.CancelFunc
	opened    chan struct{} // closed when store is set
	done      chan struct{} // closed when nothing opens it any more

	store *natsstore.Store // static after opened

	mu  sync.Mutex
	why error // it is not open; guarded by mu
}

var _ instances.SharedStore = (*sharedStore)(nil)

// openShared begins to open the store of a cluster.
func openShared(t *natscluster.Transport, cluster string, log *logging.Log) *sharedStore {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sharedStore{
		transport: t, log: log, cancel: cancel, opened: make(chan struct{}), done: make(chan struct{}),
		// Clusters may have NATS servers in common.
		options: natsstore.Options{Bucket: "mycelium_" + cluster + "_instances", Replicas: t.Replicas()},
		why:     errors.New("it is being opened"),
	}
	go s.open(ctx)
	return s
}

func (s *sharedStore) open(ctx context.Context) {
	defer close(s.done)
	for ctx.Err() == nil {
		store, err := s.try(ctx)
		if err == nil {
			s.store = store
			close(s.opened)
			s.log.Info("the store of instances is open").Str("bucket", s.options.Bucket).Write()
			return
		}
		s.mu.Lock()
		s.why = err
		s.mu.Unlock()
		if ctx.Err() == nil {
			s.log.Warn("the store of instances is not open yet").Err(err).Write()
		}
		select {
		case <-ctx.Done():
		case <-time.After(openPause):
		}
	}
}

func (s *sharedStore) try(ctx context.Context) (*natsstore.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openEvery)
	defer cancel()
	js, err := s.transport.OpenJetStream()
	if err != nil {
		return nil, err
	}
	return natsstore.Open(ctx, js.Conn(), s.options)
}

// opening returns why the store is not open yet, nil if it is.
func (s *sharedStore) opening() error {
	select {
	case <-s.opened:
		return nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("the store of instances is not open: %w", s.why)
}

// wait returns the store once it is open, or an error after some time.
func (s *sharedStore) wait(ctx context.Context) (*natsstore.Store, error) {
	select {
	case <-s.opened:
		return s.store, nil
	case <-ctx.Done():
	case <-time.After(storeWait):
	}
	if err := s.opening(); err != nil {
		return nil, err
	}
	return s.store, nil
}

// Get implements [instances.Store].
func (s *sharedStore) Get(ctx context.Context, key string) (instances.Entry, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return instances.Entry{}, err
	}
	return store.Get(ctx, key)
}

// Put implements [instances.Store].
func (s *sharedStore) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return 0, err
	}
	return store.Put(ctx, key, value, revision)
}

// PutIf implements [instances.SharedStore].
func (s *sharedStore) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return 0, err
	}
	return store.PutIf(ctx, key, value, other, revision)
}

// Delete implements [instances.Store].
func (s *sharedStore) Delete(ctx context.Context, key string, revision uint64) error {
	store, err := s.wait(ctx)
	if err != nil {
		return err
	}
	return store.Delete(ctx, key, revision)
}

// DeleteIf implements [instances.SharedStore].
func (s *sharedStore) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	store, err := s.wait(ctx)
	if err != nil {
		return err
	}
	return store.DeleteIf(ctx, key, other, revision)
}

// List implements [instances.Store].
func (s *sharedStore) List(ctx context.Context, prefix string) ([]instances.Entry, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return nil, err
	}
	return store.List(ctx, prefix)
}

// Watch implements [instances.SharedStore].
func (s *sharedStore) Watch(ctx context.Context, prefix string) iter.Seq2[instances.Change, error] {
	return func(yield func(instances.Change, error) bool) {
		select {
		case <-s.opened:
			s.store.Watch(ctx, prefix)(yield)
		case <-ctx.Done():
		}
	}
}

// Close implements [instances.Store].
func (s *sharedStore) Close() error {
	s.cancel()
	<-s.done
	if s.opening() != nil {
		return nil
	}
	return s.store.Close()
}
