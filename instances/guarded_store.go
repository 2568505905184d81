package instances

import (
	"context"

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
