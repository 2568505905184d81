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
	"github.com/mycelium-rt/mycelium/internal/membership"
)

const (
	// openEvery bounds one attempt to open the store, openPause is the pause before the
	// next.
	openEvery = 10 * time.Second
	openPause = time.Second
	// storeWait is how long a request waits for the store to be opened.
	storeWait = 5 * time.Second
	// probeEvery is how often the state of the store is examined.
	probeEvery = time.Second
)

// sharedStore is the store that the nodes of a cluster share. It is opened in the background, because that takes
// a majority of the nodes, and this one serves its clients without. Until it is open, Watch waits; the other
// methods fail after storeWait.
type sharedStore struct {
	// Static after openShared.
	transport *natscluster.Transport
	options   natsstore.Options
	log       *logging.Log
	cancel    context.CancelFunc
	opened    chan struct{} // closed when store is set
	done      chan struct{} // closed when the goroutine that opens and probes it has ended

	store *natsstore.Store // static after opened

	mu sync.Mutex

	// Guarded by mu.
	state    membership.Store
	answered time.Time // when the last request ended
}

var _ instances.SharedStore = (*sharedStore)(nil)

// bucketOf returns the name of the bucket that keeps a cluster's instances. Clusters may share NATS servers.
func bucketOf(cluster string) string { return "mycelium_" + cluster + "_instances" }

// openShared begins to open the store of a cluster.
func openShared(t *natscluster.Transport, cluster string, log *logging.Log) *sharedStore {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sharedStore{
		transport: t, log: log, cancel: cancel, opened: make(chan struct{}), done: make(chan struct{}),
		options: natsstore.Options{Bucket: bucketOf(cluster), Replicas: t.Replicas()},
		state:   membership.Store{Trouble: "it is being opened", Behind: "this node's part has not been examined yet"},
	}
	go func() {
		defer close(s.done)
		s.open(ctx)
		s.probe(ctx)
	}()
	return s
}

func (s *sharedStore) open(ctx context.Context) {
	began := time.Now()
	for ctx.Err() == nil {
		store, err := s.try(ctx)
		if err == nil {
			s.store = store
			close(s.opened)
			s.setTrouble("")
			s.log.Info("the store of instances is open").Str("bucket", s.options.Bucket).Write()
			return
		}
		if ctx.Err() == nil {
			s.setTrouble(err.Error())
			s.reportDelay(time.Since(began), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(openPause):
		}
	}
}

// reportDelay logs that the store is not open yet. Nodes that start together need some
// seconds to find each other and to elect a leader, which is no reason to warn.
func (s *sharedStore) reportDelay(after time.Duration, err error) {
	if after < 2*openEvery {
		s.log.Info("the store of instances is not open yet: it opens when most of the nodes run").Str("reason", err.Error()).Write()
		return
	}
	s.log.Warn("the store of instances is not open yet").Err(err).Write()
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

// probe examines the part of the store that this node keeps. If there has been no other request for a while, it
// asks for a key that does not exist.
func (s *sharedStore) probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		behind := ""
		if err := s.transport.JetStreamHealth(); err != nil {
			behind = err.Error()
		}
		s.mu.Lock()
		s.state.Behind = behind
		idle := time.Since(s.answered) > storeWait
		s.mu.Unlock()
		if idle {
			ask, cancel := context.WithTimeout(ctx, storeWait)
			s.Get(ask, "probe") //nolint:errcheck // ended notes it
			cancel()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look returns the state of the store.
func (s *sharedStore) look() membership.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *sharedStore) setTrouble(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Trouble, s.answered = text, time.Now()
}

// wait returns the store once it is open, or an error after storeWait.
func (s *sharedStore) wait(ctx context.Context) (*natsstore.Store, error) {
	select {
	case <-s.opened:
		return s.store, nil
	case <-ctx.Done():
	case <-time.After(storeWait):
	}
	return nil, fmt.Errorf("the store of instances is not open: %s", s.look().Trouble)
}

// ended notes how a request has ended, and returns its error with what has failed.
func (s *sharedStore) ended(err error) error {
	switch {
	case err == nil, errors.Is(err, instances.ErrKeyNotFound), errors.Is(err, instances.ErrKeyRevision):
		s.setTrouble("")
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer; most of the nodes that keep it must run: %w", err)
	}
	s.setTrouble(err.Error())
	return fmt.Errorf("the store of instances: %w", err)
}

// Get implements [instances.Store].
func (s *sharedStore) Get(ctx context.Context, key string) (instances.Entry, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return instances.Entry{}, err
	}
	e, err := store.Get(ctx, key)
	return e, s.ended(err)
}

// Put implements [instances.Store].
func (s *sharedStore) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return 0, err
	}
	next, err := store.Put(ctx, key, value, revision)
	return next, s.ended(err)
}

// PutIf implements [instances.SharedStore].
func (s *sharedStore) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return 0, err
	}
	next, err := store.PutIf(ctx, key, value, other, revision)
	return next, s.ended(err)
}

// Delete implements [instances.Store].
func (s *sharedStore) Delete(ctx context.Context, key string, revision uint64) error {
	store, err := s.wait(ctx)
	if err != nil {
		return err
	}
	return s.ended(store.Delete(ctx, key, revision))
}

// DeleteIf implements [instances.SharedStore].
func (s *sharedStore) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	store, err := s.wait(ctx)
	if err != nil {
		return err
	}
	return s.ended(store.DeleteIf(ctx, key, other, revision))
}

// List implements [instances.Store].
func (s *sharedStore) List(ctx context.Context, prefix string) ([]instances.Entry, error) {
	store, err := s.wait(ctx)
	if err != nil {
		return nil, err
	}
	list, err := store.List(ctx, prefix)
	return list, s.ended(err)
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
	select {
	case <-s.opened:
		return s.store.Close()
	default:
		return nil
	}
}
