package instances

import (
	"context"
	"errors"
	"iter"
)

// Store keeps what must outlive the server: specs, and the states that types
// save. It is small, so that a cluster's key-value store can implement it.
// Methods are safe from any goroutine. Package storetest checks
// implementations.
//
// Keys are made of A-Z, a-z, 0-9, "_", "-" and "."; every change of a key gives it a
// higher revision than the store has given before.
type Store interface {
	// Get returns ErrKeyNotFound if there is nothing.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes a value if the key is at revision, and otherwise returns
	// ErrKeyRevision. Revision 0 means that the key must not exist, AnyRevision
	// that it does not matter. When Put returns without an error, the value
	// survives a crash of the machine.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key if it is at revision, or revision is AnyRevision,
	// and otherwise returns ErrKeyRevision. If the key does not exist, it
	// returns ErrKeyNotFound. Delete is as durable as Put.
	Delete(ctx context.Context, key string, revision uint64) error
	// List returns all keys that begin with prefix, in order.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Close closes the store. No method may be called afterwards.
	Close() error
}

// SharedStore is a store that the nodes of a cluster share. The function
// storetest.RunShared checks implementations.
type SharedStore interface {
	Store
	// PutIf writes a value, at whatever revision its key is, if another key is at
	// revision, and otherwise returns ErrKeyRevision. It does both in one step: a
	// node that has lost the other key can no longer write, however late its
	// request arrives.
	PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error)
	// DeleteIf removes a key on the same condition. It is not an error if the key does
	// not exist.
	DeleteIf(ctx context.Context, key, other string, revision uint64) error
	// Watch yields the present keys that begin with prefix, then a Change with
	// Current set, then each change in the order of revisions. Revisions of a key
	// that changes quickly may be skipped, but never its last one. Watch ends with
	// ctx, or after it has yielded an error; another Watch yields all keys again.
	Watch(ctx context.Context, prefix string) iter.Seq2[Change, error]
}

// Change is what [SharedStore].Watch yields.
type Change struct {
	// Entry is the key in its new state. Its value is nil if it was deleted.
	Entry Entry
	// Deleted reports whether the key was deleted, at Entry.Revision.
	Deleted bool
	// Current reports that the entries yielded so far are all that the store has
	// now. Entry is empty then.
	Current bool
}

// Entry is a key of a store with its value, which the caller owns.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// AnyRevision makes Put and Delete unconditional.
const AnyRevision = ^uint64(0)

// Errors of a [Store].
var (
	ErrKeyNotFound = errors.New("instances: the store has no such key")
	ErrKeyRevision = errors.New("instances: the key is at another revision")
)
