package natsstore_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/owners"
	"github.com/mycelium-rt/mycelium/instances/natsstore"
)

// Environment variables that make the test binary a worker: a node whose instances count,
// and save their counts.
const (
	workerName    = "MYCELIUM_TEST_WORKER"
	workerServers = "MYCELIUM_TEST_SERVERS"
	workerIDs     = "MYCELIUM_TEST_IDS"
)

// What a worker writes to its standard output, a line each.
const (
	lineStart = "start" // ID, and the JSON of the state that the run starts with
	lineAcked = "acked" // ID RUN COUNT: a save was acknowledged
	lineLost  = "lost"  // ID RUN: the run was told that it is no longer the owner
)

// count is the state of an instance.
type count struct {
	Run  string // the run that saved it: the time during which one worker owns the instance
	N    int    // grows by one with each save
	From *count `json:",omitempty"` // what the run started with; nil if there was nothing
}

func isWorker() bool { return os.Getenv(workerName) != "" }

// work is the main function of a worker. SIGTERM has it hand its instances over.
func work() int {
	opening, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	store, err := connectStore(opening, os.Getenv(workerServers))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared := ownersStore{store}
	o := owners.Start(shared, owners.Options{
		Node: os.Getenv(workerName),
		Run:  func(ctx context.Context, id string, own *owners.Ownership) { counting(ctx, shared, id, own) },
	})
	for id := range strings.SplitSeq(os.Getenv(workerIDs), ",") {
		o.Want(id)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, err := range []error{o.Drain(ending), o.Close(ending), store.Close()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err) // the store may be out of reach
		}
	}
	return 0
}

// connectStore opens the bucket through any of some servers, which may be away for a while.
func connectStore(ctx context.Context, urls string) (*natsstore.Store, error) {
	conn, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // requests return theirs
	if err != nil {
		return nil, err
	}
	for !conn.IsConnected() { // max_payload is known then
		select {
		case <-ctx.Done():
			conn.Close()
			return nil, fmt.Errorf("connecting to %s: %w", urls, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return natsstore.Open(ctx, conn, natsstore.Options{Replicas: 3})
}

// counting is one run of an instance.
func counting(ctx context.Context, store ownersStore, id string, own *owners.Ownership) {
	from, ok := load(ctx, store, id)
	if !ok {
		return
	}
	state := count{Run: rand.Text()[:10], From: from}
	if from != nil {
		state.N = from.N
		from.From = nil // the checker knows it
	}
	say(lineStart, id, string(encode(state)))
	lost := false
	for ctx.Err() == nil && !lost {
		lost = save(ctx, id, &state, own)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(mathrand.IntN(100)) * time.Millisecond):
		}
	}
	if context.Cause(ctx) == owners.ErrReleased { // it still owns it, so its last state counts
		save(context.WithoutCancel(ctx), id, &state, own)
	}
}

// save saves the next number, and reports whether this worker has lost the instance.
func save(ctx context.Context, id string, state *count, own *owners.Ownership) (lost bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	state.N++ // without an answer it may have been stored
	err := own.Save(ctx, "state."+id, encode(state))
	switch {
	case err == nil:
		say(lineAcked, id, state.Run, state.N)
	case errors.Is(err, owners.ErrLost):
		say(lineLost, id, state.Run)
		return true
	}
	return false
}

// load returns the state that was saved last, nil if there is none.
func load(ctx context.Context, store ownersStore, id string) (state *count, ok bool) {
	for ctx.Err() == nil {
		request, cancel := context.WithTimeout(ctx, time.Second)
		value, _, err := store.Get(request, "state."+id)
		cancel()
		switch {
		case errors.Is(err, owners.ErrKeyNotFound):
			return nil, true
		case err == nil:
			state = new(count)
			if err := json.Unmarshal(value, state); err != nil {
				panic(err) // nobody else writes it
			}
			return state, true
		}
	}
	return nil, false
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs can always be encoded
	}
	return b
}

// say writes a line in one call: a process that is killed writes it whole or not at all.
func say(fields ...any) { fmt.Println(fields...) }

// ownersStore adapts a store to package owners.
type ownersStore struct{ *natsstore.Store }

// Get implements [owners.Store].
func (s ownersStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := s.Store.Get(ctx, key)
	return e.Value, e.Revision, ownersError(err)
}

// Put implements [owners.Store].
func (s ownersStore) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	next, err := s.Store.Put(ctx, key, value, revision)
	return next, ownersError(err)
}

// PutIf implements [owners.Store].
func (s ownersStore) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	next, err := s.Store.PutIf(ctx, key, value, other, revision)
	return next, ownersError(err)
}

// Delete implements [owners.Store].
func (s ownersStore) Delete(ctx context.Context, key string, revision uint64) error {
	return ownersError(s.Store.Delete(ctx, key, revision))
}

// DeleteIf implements [owners.Store].
func (s ownersStore) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	return ownersError(s.Store.DeleteIf(ctx, key, other, revision))
}

// Watch implements [owners.Store].
func (s ownersStore) Watch(ctx context.Context, prefix string) iter.Seq2[owners.Change, error] {
	return func(yield func(owners.Change, error) bool) {
		for c, err := range s.Store.Watch(ctx, prefix) {
			if !yield(owners.Change{Key: c.Entry.Key, Value: c.Entry.Value, Revision: c.Entry.Revision, Deleted: c.Deleted, Current: c.Current}, err) {
				return
			}
		}
	}
}

func ownersError(err error) error {
	switch {
	case errors.Is(err, instances.ErrKeyNotFound):
		return owners.ErrKeyNotFound
	case errors.Is(err, instances.ErrKeyRevision):
		return owners.ErrKeyRevision
	}
	return err
}
