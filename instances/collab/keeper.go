package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/autosave"
)

// SaveAfter is how long an operation may stay unsaved, unless the document is
// durable.
const SaveAfter = time.Second

const (
	// docKey is the name under which the history is saved.
	docKey = "doc"
	// ring is how many operations of a durable document are saved individually
	// before the whole history is saved. Operation n is saved as "op-(n mod
	// ring)", so that none needs to be removed.
	ring = 64
)

// keeper holds the history and saves it.
type keeper struct {
	in      *instances.Instance
	durable bool
	saver   *autosave.Saver

	saving sync.Mutex // held while saving; taken before mu

	// mu is held while an operation is saved and sent, so that everybody gets
	// operations in order.
	mu      sync.Mutex
	history history // guarded by mu
	saved   int64   // guarded by mu; the revision of the history that is saved, -1: none is
}

func newKeeper(in *instances.Instance, h history, durable bool) *keeper {
	k := &keeper{in: in, history: h, durable: durable, saved: -1}
	k.saver = autosave.New(in, "document", SaveAfter, k.save)
	return k
}

// read calls f with the history, which f must not keep.
func (k *keeper) read(f func(*history) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return f(&k.history)
}

// append appends an operation, saves it if the document is durable, and sends
// it. If saving fails, the operation is refused.
func (k *keeper) append(ctx context.Context, base int64, user, id string, op json.RawMessage, send func(entry) error) (rev int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, doc, again, err := k.history.next(base, user, id, op)
	if err != nil || again {
		return e.Rev, err
	}
	if k.durable {
		// The operation counts even if the client goes away meanwhile.
		if err := k.saveEntry(context.WithoutCancel(ctx), e); err != nil {
			k.in.Log().Error().Err(err).Msg("an operation was not saved, and is refused")
			return 0, refuse("the server could not save this: try again")
		}
	}
	k.history.append(e, doc)
	if !k.durable {
		k.saver.Changed()
	}
	return e.Rev, send(e)
}

func opKey(rev int64) string { return fmt.Sprintf("op-%d", rev%ring) }

// saveEntry saves one operation, after saving the history if its place in the
// ring is still needed.
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

// load loads the history, and the operations that were saved after it.
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
		if e.Rev != k.history.rev+1 { // from an earlier round
			return nil
		}
		if err := k.history.replay(e); err != nil {
			return err
		}
	}
}

// save saves the history if it has changed.
func (k *keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
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
