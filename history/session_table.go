package history

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

// sessionTable finds sessions by their key. It is a hash table with open addressing that
// holds nothing but pointers: 10 to 13 bytes a session, of which a map would take 44. The zero value
// is empty. Guarded by Sessions.mu.
type sessionTable struct {
	slots []*Session // a key is in the first free slot behind its place, or before that
	count int
	seed  maphash.Seed // set with the first slots: clients must not know which keys collide
}

// Of so many slots at most tableFull have a session. A table that is full grows by a quarter,
// and one that is mostly empty is halved.
const (
	tableSlots = 5
	tableFull  = 4
	tableLeast = 16 // slots
)

// place returns the slot at which the search for a key begins.
func (t *sessionTable) place(key *SessionKey) int {
	place, _ := bits.Mul64(maphash.Bytes(t.seed, key[:]), uint64(len(t.slots)))
	return int(place)
}

// slot returns the slot of a key, or the one that is free for it. There are slots.
func (t *sessionTable) slot(key *SessionKey) int {
	i := t.place(key)
	for t.slots[i] != nil && t.slots[i].key != *key {
		i = t.after(i)
	}
	return i
}

func (t *sessionTable) after(i int) int {
	if i++; i < len(t.slots) {
		return i
	}
	return 0
}

// find returns the session with a key, nil if there is none.
func (t *sessionTable) find(key SessionKey) *Session {
	if t.count == 0 {
		return nil
	}
	return t.slots[t.slot(&key)]
}

// put puts a session into the table, in place of one with its key.
func (t *sessionTable) put(one *Session) {
	if (t.count+1)*tableSlots > len(t.slots)*tableFull {
		t.resize(max(tableLeast, len(t.slots)+len(t.slots)/4))
	}
	i := t.slot(&one.key)
	if t.slots[i] == nil {
		t.count++
	}
	t.slots[i] = one
}

// remove removes the session with a key, if there is one. Those behind it that would no longer be found
// move up.
func (t *sessionTable) remove(key SessionKey) {
	if t.find(key) == nil {
		return
	}
	t.count--
	free := t.slot(&key)
	for i := t.after(free); t.slots[i] != nil; i = t.after(i) {
		if place := t.place(&t.slots[i].key); (i-place+len(t.slots))%len(t.slots) >= (i-free+len(t.slots))%len(t.slots) {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = nil
	switch {
	case t.count == 0:
		*t = sessionTable{}
	case len(t.slots) > tableLeast && t.count < len(t.slots)/4:
		t.resize(max(tableLeast, len(t.slots)/2))
	}
}

func (t *sessionTable) resize(n int) {
	old := t.slots
	if t.slots = make([]*Session, n); old == nil {
		t.seed = maphash.MakeSeed()
	}
	for _, one := range old {
		if one != nil {
			t.slots[t.slot(&one.key)] = one
		}
	}
}

// all yields all sessions, in no order. The table must not change meanwhile.
func (t *sessionTable) all() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, one := range t.slots {
			if one != nil && !yield(one) {
				return
			}
		}
	}
}
