package instances

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Store keeps what has to outlive the server: specs, and what types save. It is
// small so that a key-value store of a cluster can be one. Methods are safe
// from any goroutine; the package storetest has what an implementation must do.
//
// Keys are made of A-Z, a-z, 0-9, "_", "-" and "."; every change of a key gives it a
// higher revision than the store has given before.
type Store interface {
	// Get returns ErrKeyNotFound if there is nothing.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes a value if the key is at revision, 0: if there is none of it;
	// AnyRevision: whatever there is. Else ErrKeyRevision. When it returns
	// without an error, the value survives a crash of the machine.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key if it is at revision, or AnyRevision, else
	// ErrKeyRevision. One that is not there is ErrKeyNotFound. It is as durable
	// as Put.
	Delete(ctx context.Context, key string, revision uint64) error
	// List returns all keys that begin with prefix, in their order.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Close ends the store; nothing may be called after it.
	Close() error
}

// Entry is a key of a store; the value is the caller's.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// AnyRevision makes Put and Delete unconditional.
const AnyRevision = ^uint64(0)

// What a store answers.
var (
	ErrKeyNotFound = errors.New("instances: the store has no such key")
	ErrKeyRevision = errors.New("instances: the key is at another revision")
)

// Memory is a store that forgets everything with the process. Its zero value
// is ready.
type Memory struct {
	mu       sync.Mutex
	revision uint64           // guarded by mu
	entries  map[string]Entry // guarded by mu
}

// Get is Store's.
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

// Put is Store's.
func (m *Memory) Put(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision != AnyRevision && m.entries[key].Revision != revision {
		return 0, ErrKeyRevision
	}
	if m.entries == nil {
		m.entries = make(map[string]Entry)
	}
	m.revision++
	m.entries[key] = Entry{Key: key, Value: slices.Clone(value), Revision: m.revision}
	return m.revision, nil
}

// Delete is Store's.
func (m *Memory) Delete(_ context.Context, key string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e, ok := m.entries[key]; {
	case !ok:
		return ErrKeyNotFound
	case revision != AnyRevision && e.Revision != revision:
		return ErrKeyRevision
	}
	delete(m.entries, key)
	return nil
}

// List is Store's.
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

// Close is Store's.
func (m *Memory) Close() error { return nil }
