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
	"github.com/mycelium-rt/mycelium/history"
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
	name  string
	topic string
	key   string // keyOf(name)

	// mu is held while a message is sent, so that messages are in the backlog
	// in the order in which they arrive. It is taken before rooms.mu, and before the
	// locks of package history.
	mu      sync.Mutex
	loaded  bool    // guarded by mu: history has what was saved
	backlog backlog // guarded by mu
	evicted uint64  // guarded by mu: history.Space.Evicted when it was loaded
	unsaved []entry // guarded by mu: messages that are not in the store, which is how memory that is short cannot lose them

	members int         // guarded by rooms.mu
	slot    *share.Slot // guarded by rooms.mu; of the client that opened it; nil: no client has
	by      holder      // the same
}

func newRoom(name string) *room {
	return &room{name: name, topic: topicPrefix + name, key: keyOf(name)}
}

// rooms holds the rooms of an instance.
type rooms struct {
	// Static after construction.
	in      *instances.Instance
	history *history.Space // nil if the instance only checks a spec
	age     time.Duration  // how long saved backlogs are kept if history has no rules
	most    int
	shares  *share.Pool // of most
	saver   *autosave.Saver

	saving sync.Mutex // held while saving; taken before all other locks

	mu    sync.Mutex
	open  map[string]*room   // guarded by mu; by key
	dirty map[*room]struct{} // guarded by mu; not saved

	// The rooms with a saved backlog, by key.
	listed   map[string]listing // guarded by saving
	unlisted bool               // guarded by saving: other rooms are listed than in the saved list
	listedAt time.Time          // guarded by saving: when the list was last saved
}

func newRooms(in *instances.Instance, c Config) *rooms {
	r := &rooms{
		in: in, history: in.Endpoint().History(), age: time.Duration(c.BacklogAge), most: c.MaxRooms, shares: share.New(c.MaxRooms, c.RoomShare),
		open: make(map[string]*room), dirty: make(map[*room]struct{}), listed: make(map[string]listing),
	}
	r.saver = autosave.New(in, "backlogs", SaveAfter, r.save)
	return r
}

// start reads which rooms have a backlog; the backlogs themselves are loaded
// when somebody joins.
func (r *rooms) start(ctx context.Context) error {
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
	one.mu.Lock()
	err = r.load(ctx, one)
	one.mu.Unlock()
	if err != nil {
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
	if one == nil || one.slot == nil {
		slot, refused := r.takeSlot(s)
		switch refused {
		case share.Full:
			return nil, channels.Errorf("too many rooms are in use: at most %d can be", r.most)
		case share.ShareUsed:
			return nil, channels.Errorf("you have too many rooms open: the rest are for other clients")
		}
		if one == nil {
			one = newRoom(name)
			r.open[key] = one
		}
		one.slot, one.by = slot, holderOf(s)
	}
	one.members++
	return one, nil
}

// hold returns a room, and keeps it open until closeRoom is called. It takes nothing of the
// rooms that clients may open.
func (r *rooms) hold(name string) *room {
	key := keyOf(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.open[key]
	if one == nil {
		one = newRoom(name)
		r.open[key] = one
	}
	one.members++
	return one
}

// takeSlot takes one room of a socket's share. The application may have all.
func (r *rooms) takeSlot(s *channels.Socket) (*share.Slot, share.Refusal) {
	if s == nil {
		return r.shares.TakeAny()
	}
	return r.shares.Take(s.Client(), s)
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
		if one.slot != nil {
			r.shares.Give(one.slot)
		}
	}
}

// messageSent schedules the saving of a message, if history records it. The caller holds
// one.mu.
func (r *rooms) messageSent(one *room, e entry) {
	if rule, ok := r.history.Keeps(one.topic); ok && r.history.Records(one.topic, "new_msg") {
		one.unsaved = within(append(one.unsaved, e), rule.Messages, rule.Bytes, time.Time{})
		r.backlogChanged(one)
	}
}

// backlogChanged schedules the saving of a room's backlog.
func (r *rooms) backlogChanged(one *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[one] = struct{}{}
	r.saver.Changed()
}

// isDirty reports whether a room has yet to be saved.
func (r *rooms) isDirty(one *room) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, dirty := r.dirty[one]
	return dirty
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

// saveOne saves the backlog of a room. The caller holds saving.
func (r *rooms) saveOne(ctx context.Context, one *room) error {
	one.mu.Lock()
	kept, err := r.kept(ctx, one)
	var data []byte
	if err == nil {
		data, err = one.backlog.encode(one.name, kept)
	}
	unsaved := len(one.unsaved)
	r.mu.Lock()
	delete(r.dirty, one)
	r.mu.Unlock()
	one.mu.Unlock()
	if err == nil {
		err = r.in.Save(ctx, one.key, data)
	}
	r.saved(one, unsaved, err)
	return err
}

// saved notes that the first unsaved messages of a room were saved, or that they could not
// be.
func (r *rooms) saved(one *room, n int, err error) {
	if err == nil {
		one.mu.Lock()
		one.unsaved = one.unsaved[min(n, len(one.unsaved)):]
		if len(one.unsaved) == 0 {
			one.unsaved = nil
		}
		one.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.dirty[one] = struct{}{}
	}
	r.closeIfDone(one)
}

// list updates the list of rooms, and drops backlogs that are too old or too
// many. The caller holds saving.
func (r *rooms) list(ctx context.Context, dirty []*room) error {
	now := time.Now()
	for _, one := range dirty {
		l, known := r.listed[one.key]
		if !known {
			l.By = one.by
			r.unlisted = true
		}
		l.At = now
		r.listed[one.key] = l
	}
	for _, key := range r.surplus(now) {
		if err := r.forget(ctx, key); err != nil {
			return err
		}
		delete(r.listed, key)
		r.unlisted = true
	}
	if !r.unlisted && (len(dirty) == 0 || now.Sub(r.listedAt) < r.longest()/listParts) {
		return nil
	}
	data, err := json.Marshal(r.listed)
	if err == nil {
		err = r.in.Save(ctx, roomsKey, data)
	}
	if err == nil {
		r.unlisted, r.listedAt = false, now
	}
	return err
}

// listParts is how often the times of the list are saved while a message is kept: a time in
// a saved list may be too early by that part.
const listParts = 32

// forget removes the backlog that is saved under a key.
func (r *rooms) forget(ctx context.Context, key string) error {
	s, _, err := r.loadSaved(ctx, &room{key: key})
	if err == nil && s.Room != "" {
		if _, err := r.history.Delete(topicPrefix + s.Room); err != nil {
			return err
		}
	}
	return r.in.Forget(ctx, key)
}

// longest returns how long a message may be kept.
func (r *rooms) longest() (age time.Duration) {
	for _, rule := range r.history.Rules() {
		age = max(age, rule.Age)
	}
	return cmp.Or(age, r.age)
}

// keyOf returns the name under which a room's backlog is saved. It is a hash,
// because a room's name may have any characters.
func keyOf(room string) string {
	sum := sha256.Sum256([]byte(room))
	return fmt.Sprintf("room-%s", base64.RawURLEncoding.EncodeToString(sum[:]))
}
