package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

// MaxStateBytes bounds one saved state, because a cluster's store takes no larger
// values (max_payload of NATS is 1 MiB by default).
const MaxStateBytes = 1 << 20

// Save keeps data under a name for the next lives of this instance, until the
// instance is deleted. When it returns without an error, data survives a crash
// of the machine. Save fails once this life has ended, and its goroutines have had their
// time to end. In a cluster, it fails and the instance ends once another node may run
// the instance: only the present owner can save. The nodes of an instance
// that runs on all of them overwrite each other's data. Concurrent saves of many
// instances share writes to the disk.
// name is 1 to 64 characters of A-Za-z0-9_-, data at most [MaxStateBytes].
func (in *Instance) Save(ctx context.Context, name string, data []byte) error {
	if len(data) > MaxStateBytes {
		return fmt.Errorf("instances: state %q has %d bytes, more than %d", name, len(data), MaxStateBytes)
	}
	key, err := in.stateKeyForChange(name)
	if err != nil {
		return err
	}
	switch m := in.owner.manager; {
	case in.hold != nil:
		return in.ownersError(in.hold.Save(ctx, key, data))
	case m.nodes != nil && !in.owner.declared:
		return m.nodes.saveSpread(ctx, in.owner, key, data)
	default:
		_, err = m.store.Put(ctx, key, data, AnyRevision)
		return err
	}
}

// Load returns the data last saved under a name, or ErrNoState.
func (in *Instance) Load(ctx context.Context, name string) ([]byte, error) {
	key, err := in.stateKey(name)
	if err != nil {
		return nil, err
	}
	e, err := in.owner.manager.store.Get(ctx, key)
	if errors.Is(err, ErrKeyNotFound) {
		return nil, ErrNoState
	}
	return e.Value, err
}

// Forget removes the data saved under a name, if there is any. It fails when Save would.
func (in *Instance) Forget(ctx context.Context, name string) error {
	key, err := in.stateKeyForChange(name)
	if err != nil {
		return err
	}
	if in.hold != nil {
		return in.ownersError(in.hold.Delete(ctx, key))
	}
	err = in.owner.manager.store.Delete(ctx, key, AnyRevision)
	if errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	return err
}

func (in *Instance) stateKey(name string) (string, error) {
	if !made(name, maxID, idAlphabet) {
		return "", fmt.Errorf("instances: state name %q: want 1 to %d characters of A-Z, a-z, 0-9, _ and -", name, maxID)
	}
	return statePrefix + in.id + "." + name, nil
}

// stateKeyForChange is stateKey for a life that has not ended: a goroutine that outlives its
// life must not change what the next one has, or leave a state of a deleted instance.
func (in *Instance) stateKeyForChange(name string) (string, error) {
	if in.over.Load() {
		return "", fmt.Errorf("instances: this life of %q is over: %w", in.id, ErrNotRunning)
	}
	return in.stateKey(name)
}

// ownersError explains why package owners refused to save.
func (in *Instance) ownersError(err error) error {
	if errors.Is(err, owners.ErrLost) {
		return fmt.Errorf("instances: another node may run %q now: %w", in.id, ErrNotRunning)
	}
	return err
}

// saveSpread saves a state of an instance that runs on all nodes, unless the
// instance is being deleted: then nobody would remove the state.
func (n *nodes) saveSpread(ctx context.Context, one *member, key string, data []byte) error {
	one.mu.RLock()
	revision, created := one.revision, one.created
	one.mu.RUnlock()
	if revision == 0 {
		return fmt.Errorf("instances: %q has not been created yet: %w", one.id, ErrNotRunning)
	}
	for {
		_, err := n.store.PutIf(ctx, key, data, specPrefix+one.id, revision)
		if !errors.Is(err, ErrKeyRevision) {
			return err
		}
		e, err := n.get(ctx, specPrefix+one.id) // it has changed, or was deleted
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return err
		}
		var r record
		if err != nil || json.Unmarshal(e.Value, &r) != nil || r.Deleted != "" || !r.Created.Equal(created) {
			return fmt.Errorf("instances: %q has been deleted: %w", one.id, ErrNotRunning)
		}
		revision = e.Revision
	}
}
