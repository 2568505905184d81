package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
)

// The messages of a room are in the instance's history, which is in memory, and are saved
// with the instance. When a room is opened, what history no longer has of them is added
// to it again. When memory becomes short later, a room has what both have together, and
// what is not saved yet.

// load has the history of a room contain what is saved of it, once. The caller holds
// one.mu.
func (r *rooms) load(ctx context.Context, one *room) error {
	if one.loaded {
		return nil
	}
	s, stored, err := r.loadSaved(ctx, one)
	if err != nil {
		return err
	}
	one.evicted = r.history.Evicted()
	rule, _ := r.history.Keeps(one.topic)
	now := time.Now()
	err = r.history.Refill(one.topic, func(have []history.Message) []history.Message {
		return refilled(have, stored, s.Lost, &rule, now)
	})
	if err != nil {
		return err
	}
	one.backlog.restore(&s, stored, entriesOf(r.history.Page(one.topic, history.Ask{}).Messages))
	one.loaded = true
	return nil
}

// refilled returns the messages of a history with those that are stored in addition; nil
// if it lacks none.
func refilled(have []history.Message, stored []entry, lost int64, rule *history.Rule, now time.Time) (list []history.Message) {
	here := entriesOf(have)
	known := make(map[int64]bool, len(here))
	for _, e := range here {
		known[e.id] = true
	}
	room := *rule
	room.Messages -= len(have) - len(here) // what else is recorded on the topic
	for _, e := range merge(stored, here, &room, now) {
		if !known[e.id] && e.id > lost {
			list = append(list, history.Message{Event: "new_msg", Payload: e.text, Time: e.at})
		}
	}
	if list == nil {
		return nil
	}
	list = append(list, have...)
	slices.SortStableFunc(list, func(a, b history.Message) int { return a.Time.Compare(b.Time) })
	return list
}

// loadSaved returns what is saved of a room.
func (r *rooms) loadSaved(ctx context.Context, one *room) (s saved, kept []entry, err error) {
	data, err := r.in.Load(ctx, one.key)
	if errors.Is(err, instances.ErrNoState) {
		return s, nil, nil
	}
	if err != nil {
		return s, nil, err
	}
	return decode(data)
}

// kept returns the messages of a room. The caller holds one.mu.
func (r *rooms) kept(ctx context.Context, one *room) ([]entry, error) {
	rule, ok := r.history.Keeps(one.topic)
	if !ok {
		return nil, nil
	}
	list := entriesOf(r.history.Page(one.topic, history.Ask{}).Messages)
	if r.history.Evicted() == one.evicted {
		return list, nil
	}
	_, stored, err := r.loadSaved(ctx, one)
	stored = slices.DeleteFunc(append(stored, one.unsaved...), func(e entry) bool { return e.id <= one.backlog.lost })
	return merge(stored, list, &rule, time.Now()), err
}

// erase erases messages of a room: erase does so in history, and then they are erased in
// the store. It returns how many there were.
func (r *rooms) erase(ctx context.Context, name string, e instances.Erasure, erase func() (int, error)) (n int, err error) {
	one := r.hold(name) // whoever joins meanwhile must not load it from the store
	defer r.closeRoom(one)
	r.saving.Lock()
	defer r.saving.Unlock()
	one.mu.Lock()
	n, left, err := r.toErase(ctx, one, e)
	var erased int
	if err == nil {
		erased, err = erase()
	}
	if err != nil {
		one.mu.Unlock()
		return 0, err
	}
	n = max(erased, n-len(left))
	data, err := one.backlog.encode(one.name, left)
	one.unsaved = slices.DeleteFunc(one.unsaved, func(e entry) bool {
		return !slices.ContainsFunc(left, func(l entry) bool { return l.id == e.id })
	})
	unsaved := len(one.unsaved)
	one.mu.Unlock()
	if err != nil || n == 0 && !r.isDirty(one) { // it is dirty if it could not be saved before
		return 0, err
	}
	if err = r.list(ctx, []*room{one}); err == nil {
		err = r.in.Save(ctx, one.key, data)
	}
	r.saved(one, unsaved, err)
	if err != nil {
		r.saver.Changed()
	}
	return n, err
}

// toErase returns how many messages a room has, and what is left of them after an
// erasure. The caller holds one.mu.
func (r *rooms) toErase(ctx context.Context, one *room, e instances.Erasure) (n int, left []entry, err error) {
	if err := r.load(ctx, one); err != nil {
		return 0, nil, err
	}
	erased := make(map[int64]bool)
	for _, m := range r.history.Page(one.topic, history.Ask{}).Messages {
		if e.Matches(&m) {
			erased[idOf(m.Payload)] = true
		}
	}
	kept, err := r.kept(ctx, one)
	for _, k := range kept {
		if !erased[k.id] && !e.Matches(&history.Message{Time: k.at}) {
			left = append(left, k)
		}
	}
	return len(kept), left, err
}
