package natsstore

import (
	"context"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/instances"
)

// Change is one change of a key.
type Change struct {
	// Entry has the key as it is now. Its value is nil if the key was deleted.
	Entry instances.Entry
	// Deleted reports that the key was deleted, at Entry.Revision.
	Deleted bool
	// Current reports that this change was the last that was waiting: what the
	// watcher has been given is all that there is. The first time it is that of a
	// Change without a key.
	Current bool
}

// Watch yields the keys that begin with prefix as they are, then a Change with
// Current set, then each change in the order of the bucket. A key that changes
// quickly may skip revisions, but the last one always comes. It ends with ctx, or
// after an error.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w, err := s.bucket.Watch(ctx, filter(prefix))
		if err != nil {
			yield(Change{}, s.translate(err))
			return
		}
		defer w.Stop() //nolint:errcheck // it has nothing to say about a watch that is over
		for {
			select {
			case e, open := <-w.Updates():
				switch {
				case !open:
					if ctx.Err() == nil {
						yield(Change{}, s.translate(s.conn.LastError()))
					}
					return
				case e == nil:
					if !yield(Change{Current: true}, nil) {
						return
					}
				case strings.HasPrefix(e.Key(), prefix) && !yield(changeOf(e), nil):
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func changeOf(e jetstream.KeyValueEntry) Change {
	c := Change{Entry: instances.Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision()}}
	if e.Operation() != jetstream.KeyValuePut {
		c.Deleted, c.Entry.Value = true, nil
	}
	return c
}
