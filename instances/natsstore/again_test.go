package natsstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestUnansweredRead: a read that no server answers is sent again, for a bounded time; any
// answer ends it, even an error.
func TestUnansweredRead(t *testing.T) {
	silent := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	nobody := func(context.Context) error { return nats.ErrNoResponders }
	electing := func(context.Context) error {
		return &jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}
	}
	missing := func(context.Context) error { return jetstream.ErrKeyNotFound }
	for _, c := range []struct {
		name  string
		reads []func(context.Context) error // the last one again and again
		want  error
		took  time.Duration
	}{
		{"the leader is stopping", []func(context.Context) error{silent, missing}, jetstream.ErrKeyNotFound, answerTime + pause},
		{"there is no leader yet", []func(context.Context) error{nobody, nobody, missing}, jetstream.ErrKeyNotFound, 2 * pause},
		{"a leader is being elected", []func(context.Context) error{electing, missing}, jetstream.ErrKeyNotFound, pause},
		{"most servers are gone", []func(context.Context) error{silent}, context.DeadlineExceeded, readTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, reads := time.Now(), c.reads
				err := again(t.Context(), func(ctx context.Context) error {
					read := reads[0]
					reads = reads[min(1, len(reads)-1):]
					return read(ctx)
				})
				if took := time.Since(began); !errors.Is(err, c.want) || took != c.took {
					t.Errorf("%v after %s, want %v after %s", err, took, c.want, c.took)
				}
			})
		})
	}
}
