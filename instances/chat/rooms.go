package chat

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// SaveAfter is how long a message may be without being saved.
const SaveAfter = time.Second

// roomsKey is where the rooms that have a saved backlog are listed.
const roomsKey = "rooms"

// room is one that somebody is in, or whose backlog is not saved yet.
type room struct {
	name string
	key  string // keyOf(name)

	// mu is held while a message is sent, so that its order in the backlog is
	// the one in which it arrives. It comes before rooms.mu.
	mu      sync.Mutex
	backlog *backlog // guarded by mu; nil: not loaded yet

	members int // guarded by rooms.mu
}

// rooms are those of an instance.
type rooms struct {
	// Static after construction.
	in     *instances.Instance
	bounds bounds
	most   int

	saving sync.Mutex // held by the one who saves: before all others

	mu        sync.Mutex
	open      map[string]*room   // guarded by mu; by key
	dirty     map[*room]struct{} // guarded by mu; not saved
	scheduled bool               // guarded by mu; a saving is due

	// The keys of rooms with a saved backlog, and when something was last said there.
	listed map[string]time.Time // guarded by saving
}

func newRooms(in *instances.Instance, c Config) *rooms {
	return &rooms{
		in: in, most: c.MaxRooms,
		bounds: bounds{messages: *c.Backlog, bytes: c.BacklogBytes, age: time.Duration(c.BacklogAge)},
		open:   make(map[string]*room), dirty: make(map[*room]struct{}), listed: make(map[string]time.Time),
	}
}

// load reads which rooms have a backlog; the backlogs themselves are read when
// somebody comes.
func (r *rooms) load(ctx context.Context) error {
	data, err := r.in.Load(ctx, roomsKey)
	if errors.Is(err, instances.ErrNoState) {
		return nil
	}
	if err != nil {
		return err
	}
	r.saving.Lock()
	defer r.saving.Unlock()
	return json.Unmarshal(data, &r.listed)
}

// enter returns a room with its backlog, and keeps it open until leave.
func (r *rooms) enter(ctx context.Context, name string) (*room, error) {
	key := keyOf(name)
	r.mu.Lock()
	one := r.open[key]
	if one == nil {
		if len(r.open) >= r.most {
			r.mu.Unlock()
			return nil, channels.Errorf("too many rooms are in use: at most %d can be", r.most)
		}
		one = &room{name: name, key: key}
		r.open[key] = one
	}
	one.members++
	r.mu.Unlock()
	if err := r.fill(ctx, one); err != nil {
		r.leave(one)
		return nil, err
	}
	return one, nil
}

// fill loads a room's backlog, once.
func (r *rooms) fill(ctx context.Context, one *room) error {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.backlog != nil {
		return nil
	}
	b := &backlog{bounds: r.bounds}
	data, err := r.in.Load(ctx, one.key)
	if err == nil {
		err = b.decode(data, time.Now())
	}
	if err != nil && !errors.Is(err, instances.ErrNoState) {
		return err
	}
	one.backlog = b
	return nil
}

// leave closes a room that nobody is in any more, unless it has yet to be saved.
func (r *rooms) leave(one *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one.members--
	r.closeIfDone(one)
}

func (r *rooms) closeIfDone(one *room) { // with mu
	if _, dirty := r.dirty[one]; one.members == 0 && !dirty {
		delete(r.open, one.key)
	}
}

// changed has a room's backlog saved soon.
func (r *rooms) changed(one *room) {
	if r.bounds.messages == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[one] = struct{}{}
	r.saveSoon()
}

func (r *rooms) saveSoon() { // with mu
	if r.scheduled {
		return
	}
	r.scheduled = true
	r.in.Go("saving rooms", func(ctx context.Context) error {
		select {
		case <-time.After(SaveAfter):
		case <-ctx.Done():
			return nil // Stop saves
		}
		err := r.save(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		r.in.Log().Error().Err(err).Msg("backlogs not saved, trying again")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.saveSoon()
		return nil
	})
}

// save saves the backlogs that have changed.
func (r *rooms) save(ctx context.Context) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	r.scheduled = false
	dirty := slices.Collect(maps.Keys(r.dirty))
	r.mu.Unlock()
	// The list first: a listed room without a backlog does no harm, a backlog
	// that is not listed would stay for ever.
	err := r.list(ctx, dirty)
	for _, one := range dirty {
		if err == nil {
			err = r.saveOne(ctx, one)
		}
	}
	return err
}

func (r *rooms) saveOne(ctx context.Context, one *room) error {
	one.mu.Lock()
	data, err := one.backlog.encode(one.name)
	r.mu.Lock()
	delete(r.dirty, one)
	r.mu.Unlock()
	one.mu.Unlock()
	if err == nil {
		err = r.in.Save(ctx, one.key, data)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.dirty[one] = struct{}{}
	}
	r.closeIfDone(one)
	return err
}

// list brings the list of rooms up to date, and forgets the backlogs that are
// too old or too many. With saving.
func (r *rooms) list(ctx context.Context, dirty []*room) error {
	now, changed := time.Now(), false
	for _, one := range dirty {
		_, known := r.listed[one.key]
		r.listed[one.key] = now
		changed = changed || !known
	}
	for _, key := range r.surplus(now) {
		if err := r.in.Forget(ctx, key); err != nil {
			return err
		}
		delete(r.listed, key)
		changed = true
	}
	if !changed {
		return nil
	}
	data, err := json.Marshal(r.listed)
	if err != nil {
		return err
	}
	return r.in.Save(ctx, roomsKey, data)
}

// surplus are rooms whose backlogs go: expired, or silent for longest. With saving.
func (r *rooms) surplus(now time.Time) (keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var closed []string
	for key, last := range r.listed {
		switch {
		case r.open[key] != nil: // it would only be saved again
		case now.Sub(last) > r.bounds.age:
			keys = append(keys, key)
		default:
			closed = append(closed, key)
		}
	}
	slices.SortFunc(closed, func(a, b string) int {
		return cmp.Or(r.listed[a].Compare(r.listed[b]), cmp.Compare(a, b))
	})
	extra := len(r.listed) - len(keys) - r.most
	return append(keys, closed[:min(max(0, extra), len(closed))]...)
}

// keyOf is the name under which a room's backlog is saved: its own may have
// any characters.
func keyOf(room string) string {
	sum := sha256.Sum256([]byte(room))
	return fmt.Sprintf("room-%s", base64.RawURLEncoding.EncodeToString(sum[:]))
}
