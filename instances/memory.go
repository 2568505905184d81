package instances

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a store that forgets everything with the process. Its zero value
// is ready.
type Memory struct {
	mu sync.Mutex

	// Guarded by mu.
	revision uint64
	entries  map[string]Entry
	deleted  map[string]uint64 // revisions at which keys were deleted, for watchers
	changed  chan struct{}     // closed by the next change; nil: nobody waits for it
}

var _ SharedStore = (*Memory)(nil)

// Get implements [Store].
func (m *Memory) Get(_ context.Context, key string) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok {
		return Entry{}, ErrKeyNotFound
	}
	e.Value = slices.Clone(e.Value)
	return e, nil
}

// Put implements [Store].
func (m *Memory) Put(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision != AnyRevision && m.entries[key].Revision != revision {
		return 0, ErrKeyRevision
	}
	return m.put(key, value), nil
}

// PutIf implements [SharedStore].
func (m *Memory) PutIf(_ context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[other].Revision != revision {
		return 0, ErrKeyRevision
	}
	return m.put(key, value), nil
}

func (m *Memory) put(key string, value []byte) uint64 {
	if m.entries == nil {
		m.entries = make(map[string]Entry)
	}
	m.tellWatchers()
	m.entries[key] = Entry{Key: key, Value: slices.Clone(value), Revision: m.revision}
	delete(m.deleted, key)
	return m.revision
}

// tellWatchers begins a change: it takes the next revision.
func (m *Memory) tellWatchers() {
	m.revision++
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, key string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e, ok := m.entries[key]; {
	case !ok:
		return ErrKeyNotFound
	case revision != AnyRevision && e.Revision != revision:
		return ErrKeyRevision
	}
	m.remove(key)
	return nil
}

// DeleteIf implements [SharedStore].
func (m *Memory) DeleteIf(_ context.Context, key, other string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[other].Revision != revision {
		return ErrKeyRevision
	}
	if _, ok := m.entries[key]; ok {
		m.remove(key)
	}
	return nil
}

func (m *Memory) remove(key string) {
	m.tellWatchers()
	delete(m.entries, key)
	if m.deleted == nil {
		m.deleted = make(map[string]uint64)
	}
	m.deleted[key] = m.revision
}

// Watch implements [SharedStore].
func (m *Memory) Watch(ctx context.Context, prefix string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		seen, current := uint64(0), false
		for {
			changes, next := m.after(seen, prefix)
			for _, c := range changes {
				if c.Deleted && !current {
					continue // it was never there for this watcher
				}
				if !yield(c, nil) {
					return
				}
				seen = c.Entry.Revision
			}
			if !current && !yield(Change{Current: true}, nil) {
				return
			}
			current = true
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	}
}

// after returns the changes behind a revision, in their order, and what is closed by
// the next one.
func (m *Memory) after(revision uint64, prefix string) ([]Change, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Change
	for e := range maps.Values(m.entries) {
		if e.Revision > revision && strings.HasPrefix(e.Key, prefix) {
			e.Value = slices.Clone(e.Value)
			list = append(list, Change{Entry: e})
		}
	}
	for key, at := range m.deleted {
		if at > revision && strings.HasPrefix(key, prefix) {
			list = append(list, Change{Entry: Entry{Key: key, Revision: at}, Deleted: true})
		}
	}
	slices.SortFunc(list, func(a, b Change) int { return cmp.Compare(a.Entry.Revision, b.Entry.Revision) })
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return list, m.changed
}

// List implements [Store].
func (m *Memory) List(_ context.Context, prefix string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Entry
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) {
			e.Value = slices.Clone(e.Value)
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return found, nil
}

// Close implements [Store].
func (m *Memory) Close() error { return nil }
