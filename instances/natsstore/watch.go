package natsstore

import (
	"cmp"
	"context"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/instances"
)

// Watch implements [instances.SharedStore].
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[instances.Change, error] {
	return func(yield func(instances.Change, error) bool) {
		w, err := s.bucket.Watch(ctx, filterOf(prefix))
		if err != nil {
			yield(instances.Change{}, s.translate(err))
			return
		}
		defer w.Stop() //nolint:errcheck // fails only if the connection is gone
		for {
			select {
			case e, open := <-w.Updates():
				switch {
				case !open:
					if ctx.Err() == nil {
						yield(instances.Change{}, s.translate(cmp.Or(s.conn.LastError(), nats.ErrConnectionClosed)))
					}
					return
				case e == nil:
					if !yield(instances.Change{Current: true}, nil) {
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

func changeOf(e jetstream.KeyValueEntry) instances.Change {
	c := instances.Change{Entry: instances.Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision()}}
	if e.Operation() != jetstream.KeyValuePut {
		c.Deleted, c.Entry.Value = true, nil
	}
	return c
}
