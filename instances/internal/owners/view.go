package owners

import (
	"time"
)

// view is what this node has seen of the keys with a prefix.
type view[T any] struct {
	current bool // all keys have been seen
	keys    map[string]seen[T]
}

// seen is a key's value and when this node learned of it.
type seen[T any] struct {
	value    T
	revision uint64
	at       time.Time
}

// watch keeps a view up to date until Close.
func watch[T any](w *Owners, prefix string, v *view[T]) {
	for w.ctx.Err() == nil {
		fresh := make(map[string]seen[T]) // until the first Current, because a watch does not report keys that are gone
		for c, err := range w.store.Watch(w.ctx, prefix) {
			if err != nil {
				w.log("watching the store", err)
				break
			}
			w.mu.Lock()
			switch {
			case fresh == nil && !c.Current:
				apply(v.keys, v.keys, c)
			case !c.Current:
				apply(fresh, v.keys, c)
			case fresh != nil:
				v.keys, v.current, fresh = fresh, true, nil
			}
			w.kick()
			w.mu.Unlock()
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// apply applies c to keys. A revision that is already in old keeps the time it has there.
func apply[T any](keys, old map[string]seen[T], c Change) {
	if c.Deleted {
		delete(keys, c.Key)
		return
	}
	if was, ok := old[c.Key]; ok && was.revision == c.Revision {
		keys[c.Key] = was
		return
	}
	keys[c.Key] = seen[T]{value: decode[T](c.Value), revision: c.Revision, at: time.Now()}
}
