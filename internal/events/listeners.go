package events

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// listeners are the hooks and followers of a stream.
type listeners struct {
	mu        sync.Mutex
	hooks     []*hook                // guarded by mu, by name
	followers map[*Follower]struct{} // guarded by mu; those that have left stay for a while
}

func (l *listeners) allHooks() []*hook {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hooks)
}

// hook returns the hook with a name, nil if there is none.
func (l *listeners) hook(name string) *hook {
	for _, h := range l.allHooks() {
		if h.name == name {
			return h
		}
	}
	return nil
}

// oldest returns the number of the oldest event that a hook has not finished with, next
// if there is none.
func (l *listeners) oldest(next uint64) uint64 {
	for _, h := range l.allHooks() {
		next = min(next, h.doneTo.Load())
	}
	return next
}

// idle reports whether nobody listens.
func (l *listeners) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.hooks) == 0 && len(l.followers) == 0
}

// union returns the selections of all listeners, nil if there are none.
func (l *listeners) union() *union {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := new(union)
	for _, h := range l.hooks {
		u.all = append(u.all, h.Selects)
	}
	for f := range l.followers {
		u.all = append(u.all, f.selects)
	}
	if len(u.all) == 0 {
		return nil
	}
	return u
}

// setHooks replaces the hooks. Those whose name and fingerprint stay the same go on.
func (s *Stream) setHooks(wanted []Hook) error {
	before := s.listeners.allHooks()
	var after, gone []*hook
	for _, h := range before {
		same := slices.ContainsFunc(wanted, func(w Hook) bool { return w.Name == h.name && w.Fingerprint == h.Fingerprint })
		if same {
			after = append(after, h)
		} else {
			gone = append(gone, h)
		}
	}
	for _, h := range gone {
		h.end()
	}
	var failed error
	for _, w := range wanted {
		if slices.ContainsFunc(after, func(h *hook) bool { return h.name == w.Name }) {
			closeHooks([]Hook{w}) // the one that goes on has its own
			continue
		}
		h, err := s.openHook(w)
		if err != nil {
			closeHooks([]Hook{w})
			failed = err
			continue
		}
		after = append(after, h)
	}
	slices.SortFunc(after, func(a, b *hook) int { return strings.Compare(a.name, b.name) })
	s.listeners.mu.Lock()
	s.listeners.hooks = after
	s.listeners.mu.Unlock()
	s.wanted.Store(s.listeners.union())
	return failed
}

// closeHooks closes hooks that are not used.
func closeHooks(list []Hook) {
	for _, h := range list {
		if h.Close != nil {
			h.Close()
		}
	}
}

// endHooks ends the hooks when they have delivered what they can, or ctx ends.
func (s *Stream) endHooks(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range s.listeners.allHooks() {
		all.Go(func() { h.drain(ctx) })
	}
	all.Wait()
	s.undelivered = s.listeners.oldest(s.log.Next()) < s.log.Next()
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	s.listeners.hooks = nil
}
