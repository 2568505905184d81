package owners

import (
	"context"
	"errors"
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
		if context.Cause(o.ctx) == ErrLost {
			return ErrLost
		}
		if o.unsure {
			if err := o.fence(ctx); err != nil {
				return err
			}
		}
		err := do(ctx)
		switch {
		case errors.Is(err, ErrKeyRevision):
			o.cancel(ErrLost)
			return ErrLost
		case err != nil:
			o.unsure = true
		}
		return err
	})
}

// fence raises the revision of the owner's key, so that an earlier request without an
// answer is refused if it arrives now.
func (o *Ownership) fence(ctx context.Context) error {
	next, err := o.owners.store.Put(ctx, o.key, encode(o.record), o.revision)
	if errors.Is(err, ErrKeyRevision) {
		var value []byte
		var at uint64
		value, at, err = o.owners.store.Get(ctx, o.key)
		if errors.Is(err, ErrKeyNotFound) || err == nil && decode[ownerRecord](value) != o.record {
			o.cancel(ErrLost)
			return ErrLost
		}
		next = at // of a fence whose answer was lost
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
