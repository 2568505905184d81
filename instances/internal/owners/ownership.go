package owners

import (
	"context"
	"errors"
	"time"
)

// Ownership lets Options.Run save an instance's state while this node owns it.
// Its methods are safe from any goroutine.
type Ownership struct {
	owners *Owners
	key    string
	record ownerRecord
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx, with ErrReleased or ErrLost
	turn   chan struct{}           // has a token during a request: one at a time

	// Guarded by turn.
	revision uint64 // of key: the fence of what is saved
	unsure   bool   // a request had no answer, and may still take effect
}

// Save stores a value if this node is still the owner; otherwise it stores nothing and
// fails with ErrLost, and the instance has to stop. After any other error the value may
// or may not have been stored, but it never overwrites that of a later Save.
func (o *Ownership) Save(ctx context.Context, key string, value []byte) error {
	return o.request(ctx, func(ctx context.Context) error {
		_, err := o.owners.store.PutIf(ctx, key, value, o.key, o.revision)
		return err
	})
}

// Delete removes what was saved, on the same condition as Save. Deleting a key that does
// not exist is not an error.
func (o *Ownership) Delete(ctx context.Context, key string) error {
	return o.request(ctx, func(ctx context.Context) error { return o.owners.store.DeleteIf(ctx, key, o.key, o.revision) })
}

func (o *Ownership) request(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return o.inTurn(ctx, func() error {
		for {
			err := o.attempt(ctx, do)
			if err != errRefused {
				return err
			}
			select {
			case <-time.After(retryAfter):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// attempt sends a request once. The error is errRefused if it may be sent again.
func (o *Ownership) attempt(ctx context.Context, do func(ctx context.Context) error) error {
	if context.Cause(o.ctx) == ErrLost {
		return ErrLost
	}
	if o.unsure {
		if err := o.fence(ctx); err != nil {
			return err
		}
	}
	err := do(ctx)
	if errors.Is(err, ErrKeyRevision) {
		return o.verify(ctx)
	}
	o.unsure = err != nil
	return err
}

// errRefused: the store has refused a request of the owner, which may try again.
var errRefused = errors.New("owners: the store has another request in progress")

// retryAfter is the pause before a request that was refused is sent again.
const retryAfter = 50 * time.Millisecond

// verify finds out whether this node has lost the instance, after the store has refused a
// request for its revision. JetStream does so, too, while it has another request for the
// same key in progress (error 10164), whatever becomes of that. A node that took it for a
// loss would end the instance and still be its owner, so that nobody would run it.
func (o *Ownership) verify(ctx context.Context) error {
	value, at, err := o.owners.store.Get(ctx, o.key)
	switch {
	case errors.Is(err, ErrKeyNotFound) || err == nil && decode[ownerRecord](value) != o.record:
		o.cancel(ErrLost)
		return ErrLost
	case err != nil:
		return err
	}
	o.revision = at // of a fence whose answer was lost, or the same
	return errRefused
}

// fence raises the revision of the owner's key, so that an earlier request without an
// answer is refused if it arrives now.
func (o *Ownership) fence(ctx context.Context) error {
	was := o.revision
	next, err := o.owners.store.Put(ctx, o.key, encode(o.record), was)
	if errors.Is(err, ErrKeyRevision) {
		if err = o.verify(ctx); err == errRefused && o.revision != was {
			next, err = o.revision, nil // of a fence whose answer was lost
		}
	}
	if err != nil {
		return err
	}
	o.revision, o.unsure = next, false
	return nil
}

// release clears the owner of the instance, or removes its key.
func (o *Ownership) release(ctx context.Context, remove bool) error {
	return o.inTurn(ctx, func() error {
		if o.unsure {
			if err := o.fence(ctx); err != nil {
				return err
			}
		}
		if remove {
			return ignore(o.owners.store.Delete(ctx, o.key, o.revision))
		}
		_, err := o.owners.store.Put(ctx, o.key, encode(ownerRecord{}), o.revision)
		return ignore(err)
	})
}

// lastRevision returns the revision once no request is in progress.
func (o *Ownership) lastRevision() (revision uint64) {
	o.inTurn(context.Background(), func() error { revision = o.revision; return nil }) //nolint:errcheck // the context never ends
	return revision
}

func (o *Ownership) inTurn(ctx context.Context, do func() error) error {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}
