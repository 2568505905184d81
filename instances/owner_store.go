package instances

import (
	"context"
	"errors"
	"iter"

	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

// ownerStore adapts a shared store to package owners.
type ownerStore struct{ SharedStore }

func (s ownerStore) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	e, err := s.SharedStore.Get(ctx, key)
	return e.Value, e.Revision, toOwners(err)
}

func (s ownerStore) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	now, err := s.SharedStore.Put(ctx, key, value, revision)
	return now, toOwners(err)
}

func (s ownerStore) Delete(ctx context.Context, key string, revision uint64) error {
	return toOwners(s.SharedStore.Delete(ctx, key, revision))
}

func (s ownerStore) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	now, err := s.SharedStore.PutIf(ctx, key, value, other, revision)
	return now, toOwners(err)
}

func (s ownerStore) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	return toOwners(s.SharedStore.DeleteIf(ctx, key, other, revision))
}

func (s ownerStore) Watch(ctx context.Context, prefix string) iter.Seq2[owners.Change, error] {
	return func(yield func(owners.Change, error) bool) {
		for c, err := range s.SharedStore.Watch(ctx, prefix) {
			if !yield(owners.Change{Key: c.Entry.Key, Value: c.Entry.Value, Revision: c.Entry.Revision, Deleted: c.Deleted, Current: c.Current}, err) {
				return
			}
		}
	}
}

// toOwners translates an error of a store into that of package owners.
func toOwners(err error) error {
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return owners.ErrKeyNotFound
	case errors.Is(err, ErrKeyRevision):
		return owners.ErrKeyRevision
	}
	return err
}
