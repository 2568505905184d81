package owners

import (
	"context"
	"errors"
	"iter"
)

// Store is the key-value store that all nodes share. Its methods do what those of
// instances.SharedStore do; that type cannot be used here, because package instances
// imports this one.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Delete(ctx context.Context, key string, revision uint64) error
	PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error)
	DeleteIf(ctx context.Context, key, other string, revision uint64) error
	Watch(ctx context.Context, prefix string) iter.Seq2[Change, error]
}

// Change is what [Store].Watch yields: the new state of a key.
type Change struct {
	Key      string
	Value    []byte
	Revision uint64
	Deleted  bool
	// Current reports that the keys yielded so far are what the store has now. The other
	// fields are empty then.
	Current bool
}

// Errors of a [Store].
var (
	ErrKeyNotFound = errors.New("owners: the store has no such key")
	ErrKeyRevision = errors.New("owners: the key is at another revision")
)
