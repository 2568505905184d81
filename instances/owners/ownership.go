package owners

import (
	"context"
	"errors"

	"github.com/mycelium-rt/mycelium/instances"
)

// Ownership is what Options.Run saves an instance's state by, while this node owns it.
// Its methods are safe from any goroutine.
type Ownership struct {
	owners *Owners
	key    string
	record ownerRecord
	turn   chan struct{} // has a token during a request: one at a time

	// Guarded by turn.
	revision uint64 // of key: the fence of what is saved
	unsure   bool   // a request had no answer, and may still be done, late
}

// Save stores a value, provided that this node is still the owner; otherwise it fails
// with ErrLost, and stores nothing. After any other error the value may have been
// stored, but not over one of a later Save.
func (o *Ownership) Save(ctx context.Context, key string, value []byte) error {
	return o.request(ctx, func() error {
		_, err := o.owners.store.PutIf(ctx, key, value, o.key, o.revision)
		return err
	})
}

// Delete removes what was saved, as Save stores it. It is no error if there is nothing.
func (o *Ownership) Delete(ctx context.Context, key string) error {
	return o.request(ctx, func() error { return o.owners.store.DeleteIf(ctx, key, o.key, o.revision) })
}

func (o *Ownership) request(ctx context.Context, do func() error) error {
	return o.inTurn(ctx, func() error {
		if o.unsure {
			if err := o.fence(ctx); err != nil {
				return err
			}
		}
		err := do()
		switch {
		case errors.Is(err, instances.ErrKeyRevision):
			return ErrLost
		case err != nil:
			o.unsure = true
		}
		return err
	})
}

// fence raises the revision of the owner's key, so that what was sent before without an
// answer is refused if it arrives now.
func (o *Ownership) fence(ctx context.Context) error {
	next, err := o.owners.store.Put(ctx, o.key, encode(o.record), o.revision)
	if errors.Is(err, instances.ErrKeyRevision) {
		var e instances.Entry
		e, err = o.owners.store.Get(ctx, o.key)
		if errors.Is(err, instances.ErrKeyNotFound) || err == nil && decode[ownerRecord](e.Value) != o.record {
			return ErrLost
		}
		next = e.Revision // of a fence whose answer was lost
	}
	if err != nil {
		return err
	}
	o.revision, o.unsure = next, false
	return nil
}

// release makes the instance nobody's, or removes its key.
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

func (o *Ownership) inTurn(ctx context.Context, do func() error) error {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}
