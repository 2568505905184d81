package chat

import (
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
	"github.com/mycelium-rt/mycelium/instances/internal/autosave"
	"github.com/mycelium-rt/mycelium/internal/share"
)

// SaveAfter is how long a message may stay unsaved.
const SaveAfter = time.Second

// roomsKey is the name under which the list of rooms with a saved backlog is
// saved.
const roomsKey = "rooms"

// room is a room that has members, or whose backlog is not saved yet.
type room struct {
	name string
	key  string // keyOf(name)

	// mu is held while a message is sent, so that messages are in the backlog
	// in the order in which they arrive. It is taken before rooms.mu.
	mu      sync.Mutex
	backlog *backlog // guarded by mu; nil: not loaded yet

	members int         // guarded by rooms.mu
	slot    *share.Slot // guarded by rooms.mu; of the client that opened it
	by      holder      // the same
}

// rooms holds the rooms of an instance.
type rooms struct {
	// Static after construction.
	in     *instances.Instance
	bounds bounds
	most   int
	shares *share.Pool // of most
	saver  *autosave.Saver

	saving sync.Mutex // held while saving; taken before all other locks

	mu    sync.Mutex
	open  map[string]*room   // guarded by mu; by key
	dirty map[*room]struct{} // guarded by mu; not saved

	// The rooms with a saved backlog, by key.
	listed map[string]listing // guarded by saving
}

func newRooms(in *instances.Instance, c Config) *rooms {
	r := &rooms{
		in: in, most: c.MaxRooms, shares: share.New(c.MaxRooms, c.RoomShare),
		bounds: bounds{messages: *c.Backlog, bytes: c.BacklogBytes, age: time.Duration(c.BacklogAge)},
		open:   make(map[string]*room), dirty: make(map[*room]struct{}), listed: make(map[string]listing),
	}
	r.saver = autosave.New(in, "backlogs", SaveAfter, r.save)
	return r
}

// load reads which rooms have a backlog; the backlogs themselves are loaded
// when somebody joins.
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

// openRoom returns a room with its backlog, which stays open until closeRoom is
// called as often as openRoom. s is nil for the application.
func (r *rooms) openRoom(ctx context.Context, s *channels.Socket, name string) (*room, error) {
	one, err := r.occupy(s, name)
	if err != nil {
		return nil, err
	}
	if err := r.loadBacklog(ctx, one); err != nil {
		r.closeRoom(one)
		return nil, err
	}
	return one, nil
}

// occupy counts a member of a room, and opens the room if it has none. An open
// room counts against the share of the client that opened it.
func (r *rooms) occupy(s *channels.Socket, name string) (*room, error) {
	key := keyOf(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.open[key]
	if one == nil {
		slot, refused := r.takeSlot(s)
		switch refused {
		case share.Full:
			return nil, channels.Errorf("too many rooms are in use: at most %d can be", r.most)
		case share.ShareUsed:
			return nil, channels.Errorf("you have too many rooms open: the rest are for other clients")
		}
		one = &room{name: name, key: key, slot: slot, by: holderOf(s)}
		r.open[key] = one
	}
	one.members++
	return one, nil
}

// takeSlot takes one room of a socket's share. The application may have all.
func (r *rooms) takeSlot(s *channels.Socket) (*share.Slot, share.Refusal) {
	if s == nil {
		return r.shares.TakeAny()
	}
	return r.shares.Take(s.Client(), s)
}

// loadBacklog loads a room's backlog, once.
func (r *rooms) loadBacklog(ctx context.Context, one *room) error {
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

// closeRoom closes a room without members, unless it has yet to be saved.
func (r *rooms) closeRoom(one *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one.members--
	r.closeIfDone(one)
}

func (r *rooms) closeIfDone(one *room) { // with mu
	if _, dirty := r.dirty[one]; one.members == 0 && !dirty && r.open[one.key] == one {
		delete(r.open, one.key)
		r.shares.Give(one.slot)
	}
}

// backlogChanged schedules the saving of a room's backlog.
func (r *rooms) backlogChanged(one *room) {
	if r.bounds.messages == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[one] = struct{}{}
	r.saver.Changed()
}

// save saves the backlogs that have changed.
func (r *rooms) save(ctx context.Context) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	dirty := slices.Collect(maps.Keys(r.dirty))
	r.mu.Unlock()
	// The list first: a listed room without a backlog does no harm, but a
	// backlog that is not listed would stay for ever.
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

// list updates the list of rooms, and drops backlogs that are too old or too
// many. The caller holds saving.
func (r *rooms) list(ctx context.Context, dirty []*room) error {
	now, changed := time.Now(), false
	for _, one := range dirty {
		l, known := r.listed[one.key]
		if !known {
			l.By = one.by
		}
		l.At = now
		r.listed[one.key] = l
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

// keyOf returns the name under which a room's backlog is saved. It is a hash,
// because a room's name may have any characters.
func keyOf(room string) string {
	sum := sha256.Sum256([]byte(room))
	return fmt.Sprintf("room-%s", base64.RawURLEncoding.EncodeToString(sum[:]))
}
