package instances

import (
	"context"
	"errors"
	"iter"
)

// Store keeps what has to outlive the server: specs, and what types save. It is
// small so that a key-value store of a cluster can be one. Methods are safe
// from any goroutine; the package storetest has what an implementation must do.
//
// Keys are made of A-Z, a-z, 0-9, "_", "-" and "."; every change of a key gives it a
// higher revision than the store has given before.
type Store interface {
	// Get returns ErrKeyNotFound if there is nothing.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes a value if the key is at revision, 0: if there is none of it;
	// AnyRevision: whatever there is. Else ErrKeyRevision. When it returns
	// without an error, the value survives a crash of the machine.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key if it is at revision, or AnyRevision, else
	// ErrKeyRevision. One that is not there is ErrKeyNotFound. It is as durable
	// as Put.
	Delete(ctx context.Context, key string, revision uint64) error
	// List returns all keys that begin with prefix, in their order.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Close ends the store; nothing may be called after it.
	Close() error
}

// SharedStore is a store that the nodes of a cluster have in common. The function
// storetest.RunShared has what an implementation must do.
type SharedStore interface {
	Store
	// PutIf writes a value, whatever the revision of its key is, if another key
	// is at a revision, else ErrKeyRevision. Both are one step: a node that has
	// lost the other key cannot write any more, however late what it sent arrives.
	PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error)
	// Watch yields the keys that begin with prefix as they are, then a Change with
	// Current set, then each change, by rising revisions. A key that changes
	// quickly may skip revisions, but its last one always comes. It ends with ctx,
	// or behind an error; to watch again yields all keys again.
	Watch(ctx context.Context, prefix string) iter.Seq2[Change, error]
}

// Change is what a watcher of a [SharedStore] is told.
type Change struct {
	// Entry is the key as it is from now on. Its value is nil if it was deleted.
	Entry Entry
	// Deleted reports that the key was deleted, at Entry.Revision.
	Deleted bool
	// Current reports that there is nothing more to tell: what was yielded is what
	// the store has. Entry is empty then.
	Current bool
}

// Entry is a key of a store; the value is the caller's.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// AnyRevision makes Put and Delete unconditional.
const AnyRevision = ^uint64(0)

// What a store answers.
var (
	ErrKeyNotFound = errors.New("instances: the store has no such key")
	ErrKeyRevision = errors.New("instances: the key is at another revision")
)
