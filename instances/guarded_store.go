package instances

import (
	"context"
	"iter"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// guardedStore is a [Store] whose panics become errors, because it is called on
// the manager's goroutines.
type guardedStore struct{ Store }

func (s guardedStore) Get(ctx context.Context, key string) (e Entry, err error) {
	defer callback.Recover("Store.Get", &err)
	return s.Store.Get(ctx, key)
}

func (s guardedStore) Put(ctx context.Context, key string, value []byte, revision uint64) (now uint64, err error) {
	defer callback.Recover("Store.Put", &err)
	return s.Store.Put(ctx, key, value, revision)
}

func (s guardedStore) Delete(ctx context.Context, key string, revision uint64) (err error) {
	defer callback.Recover("Store.Delete", &err)
	return s.Store.Delete(ctx, key, revision)
}

func (s guardedStore) List(ctx context.Context, prefix string) (list []Entry, err error) {
	defer callback.Recover("Store.List", &err)
	return s.Store.List(ctx, prefix)
}

// guardedShared is guardedStore for a [SharedStore].
type guardedShared struct {
	guardedStore
	shared SharedStore
}

func (s guardedShared) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (now uint64, err error) {
	defer callback.Recover("SharedStore.PutIf", &err)
	return s.shared.PutIf(ctx, key, value, other, revision)
}

func (s guardedShared) DeleteIf(ctx context.Context, key, other string, revision uint64) (err error) {
	defer callback.Recover("SharedStore.DeleteIf", &err)
	return s.shared.DeleteIf(ctx, key, other, revision)
}

// Watch does not recover panics, because they may come from the body of the caller's
// loop.
func (s guardedShared) Watch(ctx context.Context, prefix string) iter.Seq2[Change, error] {
	return s.shared.Watch(ctx, prefix)
}
