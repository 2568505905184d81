package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

// SaveAfter is how long an operation may stay unsaved, unless the document is
// durable.
const SaveAfter = time.Second

const (
	// docKey is under which the history is saved.
	docKey = "doc"
	// ring is how many operations of a durable document are saved each by
	// itself, before the history is saved with them in it. Operation n is under
	// "op-(n mod ring)", so that none needs to be removed.
	ring = 64
)

// keeper has the history and keeps it.
type keeper struct {
	in      *instances.Instance
	durable bool

	saving sync.Mutex // held by the one who saves; before mu

	// mu is held while an operation is saved and sent, so that everybody gets
	// them in their order.
	mu        sync.Mutex
	history   history // guarded by mu
	saved     int64   // guarded by mu; the revision of the history that is saved, -1: none is
	scheduled bool    // guarded by mu; a saving is due
}

func newKeeper(in *instances.Instance, h history, durable bool) *keeper {
	return &keeper{in: in, history: h, durable: durable, saved: -1}
}

// read lets f see the history; it must not keep it.
func (k *keeper) read(f func(*history) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return f(&k.history)
}

// append puts an operation at the end, keeps it, and sends it. What is durable
// and cannot be kept has not happened.
func (k *keeper) append(ctx context.Context, base int64, user, id string, op json.RawMessage, send func(entry) error) (rev int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, doc, again, err := k.history.next(base, user, id, op)
	if err != nil || again {
		return e.Rev, err
	}
	if k.durable {
		// A client that goes away meanwhile has sent it all the same.
		if err := k.saveEntry(context.WithoutCancel(ctx), e); err != nil {
			k.in.Log().Error().Err(err).Msg("an operation was not saved, and is refused")
			return 0, refuse("the server could not save this: try again")
		}
	}
	k.history.append(e, doc)
	if !k.durable {
		k.saveSoon()
	}
	return e.Rev, send(e)
}

func opKey(rev int64) string { return fmt.Sprintf("op-%d", rev%ring) }

// saveEntry saves one operation, and the history first if its place in the ring is
// still needed.
func (k *keeper) saveEntry(ctx context.Context, e entry) error { // with mu
	if e.Rev-max(0, k.saved) > ring {
		data, err := k.history.encode()
		if err == nil {
			err = k.in.Save(ctx, docKey, data)
		}
		if err != nil {
			return err
		}
		k.saved = k.history.rev
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return k.in.Save(ctx, opKey(e.Rev), data)
}

// load brings back the history, and the operations that were saved after it.
func (k *keeper) load(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := k.in.Load(ctx, docKey)
	if err == nil {
		err = k.history.decode(data)
		k.saved = k.history.rev
	}
	if err != nil && !errors.Is(err, instances.ErrNoState) {
		return err
	}
	for {
		data, err := k.in.Load(ctx, opKey(k.history.rev+1))
		if errors.Is(err, instances.ErrNoState) {
			return nil
		}
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("collab: a saved operation is damaged: %w", err)
		}
		if e.Rev != k.history.rev+1 { // of an earlier round
			return nil
		}
		if err := k.history.replay(e); err != nil {
			return err
		}
	}
}

func (k *keeper) saveSoon() { // with mu
	if k.scheduled {
		return
	}
	k.scheduled = true
	k.in.Go("saving the document", func(ctx context.Context) error {
		select {
		case <-time.After(SaveAfter):
		case <-ctx.Done():
			return nil // Stop saves
		}
		err := k.save(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		k.in.Log().Error().Err(err).Msg("document not saved, trying again")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.saveSoon()
		return nil
	})
}

// save saves the history if it has changed.
func (k *keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
	k.scheduled = false
	rev, changed := k.history.rev, k.history.rev > max(0, k.saved)
	data, err := k.history.encode()
	k.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	if err := k.in.Save(ctx, docKey, data); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saved = max(k.saved, rev)
	return nil
}
