package history

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a [Store]. The zero value is usable.
type Options struct {
	// Memory bounds all recorded messages together, in bytes. Above it the oldest
	// messages are dropped. The default is 256 MiB.
	Memory int64
	// Log identifies this process; 0 means a random number, which is right
	// outside of simulations.
	Log LogID
	// Now returns the time. The default is time.Now.
	Now func() time.Time

	// AfterFunc and Pause are for simulations, which have a clock of their own and one
	// goroutine. AfterFunc calls f after d, unless stop is called before; the default is
	// time.AfterFunc. Pause is called wherever another goroutine might get in between.
	AfterFunc func(d time.Duration, f func()) (stop func())
	Pause     func()

	// Secret makes the keys of sessions unpredictable. Nodes of a cluster need the
	// same one. It may be nil.
	Secret []byte
}

// DefaultMemory is the default of Options.Memory.
const DefaultMemory = 256 << 20

// Store has the recorded messages of one process.
type Store struct {
	// Static after NewStore.
	memory int64
	now    func() time.Time
	after  func(d time.Duration, f func()) (stop func())
	pause  func() // nil: outside of simulations
	own    *logs  // of spaces of this process alone
	shared *logs  // of spaces that all nodes have; nil: there are none

	sessions *Sessions

	bytes    atomic.Int64 // what all rings and erasures take
	erasures atomic.Int64 // how many are kept
	stats    counters
	room     sync.Mutex // held by the goroutine that makes room
	hand     int        // the stripe, of all spaces, at which it begins; guarded by room

	durable Durable // where the messages of durable rules are stored; nil: nowhere
	stream  stream

	mu     sync.Mutex
	spaces map[string]*Space // guarded by mu
	list   []*Space          // the same, replaced as a whole; guarded by mu
	sweeps bool              // sweep will run; guarded by mu
	stop   func()            // stops its timer; nil: it has never run. Guarded by mu
	closed bool              // guarded by mu
	ended  []endedSpace      // the last spaces that were removed; guarded by mu
}

// counters count since the start, except topics and messages, which are what is kept
// now.
type counters struct {
	topics, messages           atomic.Int64
	recorded, expired, evicted atomic.Uint64
	marks                      atomic.Uint64
}

// Stats are the figures of a store.
type Stats struct {
	// Topics, Messages and Bytes are what is kept. Bytes is memory, with all that
	// messages need beside their payloads.
	Topics, Messages, Bytes int64
	// Recorded counts the messages since the start; Expired those that a rule's
	// bounds have dropped, and Evicted those that Options.Memory has.
	Recorded, Expired, Evicted uint64
	// Marks counts the positions sent to the clients of a topic, one broadcast each.
	Marks uint64
	// Memory is Options.Memory.
	Memory int64
	// Sessions are the figures of [Store.Sessions].
	Sessions SessionStats
	// Durable are the figures of the store's [Durable], if it has some and a rule has been
	// durable.
	Durable *DurableStats
}

// NewStore returns an empty store. It need not be closed, but Close frees the memory of
// messages before they are too old.
func NewStore(o Options) *Store {
	s := &Store{
		memory: cmp.Or(o.Memory, DefaultMemory), own: &logs{id: o.Log}, spaces: make(map[string]*Space),
		now: o.Now, after: o.AfterFunc, pause: o.Pause,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.after == nil {
		s.after = func(d time.Duration, f func()) func() {
			t := time.AfterFunc(d, f)
			return func() { t.Stop() }
		}
	}
	if s.own.id == 0 {
		s.own.id = newLogID()
	}
	s.sessions = newSessions(s, o.Secret)
	return s
}

func newLogID() (id LogID) {
	for id == 0 {
		var b [8]byte
		crand.Read(b[:])
		id = LogID(binary.BigEndian.Uint64(b[:]))
	}
	return id
}

// Close drops all messages and stops the timer of the store. Nothing may be recorded
// afterwards.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	list := s.list
	s.mu.Unlock()
	for _, sp := range list {
		sp.Clear()
	}
	s.sessions.clear()
}

// Log returns Options.Log, or the number that was drawn.
func (s *Store) Log() LogID {
	if s.shared != nil {
		return s.shared.id
	}
	return s.own.id
}

// Stats returns the store's figures.
func (s *Store) Stats() Stats {
	st := Stats{
		Topics: s.stats.topics.Load(), Messages: s.stats.messages.Load(), Bytes: s.bytes.Load(),
		Recorded: s.stats.recorded.Load(), Expired: s.stats.expired.Load(), Evicted: s.stats.evicted.Load(),
		Marks: s.stats.marks.Load(), Memory: s.memory, Sessions: s.sessions.Stats(),
	}
	if d, ok := s.durable.(interface{ Stats() DurableStats }); ok {
		if stats := d.Stats(); stats.Wanted {
			st.Durable = &stats
		}
	}
	return st
}

// Space returns the space of a name and gives it these rules in place of those that it
// had. The name keeps the topics of one endpoint apart from those of others.
func (s *Store) Space(name string, list []Rule) (*Space, error) {
	sp := s.Open(name)
	return sp, sp.SetRules(list)
}

// Open returns the space of a name with the rules that it has. A new one keeps what it
// gets under a provisional rule, until [Space.SetRules].
func (s *Store) Open(name string) *Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spaces[name]
	if sp == nil {
		sp = newSpace(s, name)
		if i := s.findEnded(name); i >= 0 {
			(*sp.rules.Load())[0].forget(s.ended[i].floor, s.ended[i].at)
			s.ended = slices.Delete(s.ended, i, i+1)
		}
		s.spaces[name] = sp
		s.list = append(append([]*Space(nil), s.list...), sp)
	}
	return sp
}

// Forget removes a space and its messages.
func (s *Store) Forget(name string) {
	s.mu.Lock()
	sp := s.spaces[name]
	delete(s.spaces, name)
	var list []*Space
	for _, other := range s.list {
		if other != sp {
			list = append(list, other)
		}
	}
	s.list = list
	if sp != nil {
		s.noteEnd(sp)
	}
	s.mu.Unlock()
	if sp != nil {
		sp.Clear()
		if s.durable != nil {
			s.durable.Trim(name, "", s.StreamHead()+1)
		}
	}
}

// endedSpace is a space that was removed. If its name is used again, clients that still have positions of it, or
// sessions, are told that what came after these is lost.
type endedSpace struct {
	name  string
	floor marks // its last position
	at    int64 // when it was removed, Unix milliseconds
}

// maxEnded bounds Store.ended.
const maxEnded = 1024

// noteEnd notes that a space is removed, if it had rules, or has lost something: an entry of another node may have made
// it again before its second life begins. The caller holds mu.
func (s *Store) noteEnd(sp *Space) {
	if floor, _ := sp.forgotten(); len(sp.Rules()) == 0 && len(floor) == 0 {
		return
	}
	if i := s.findEnded(sp.name); i >= 0 {
		s.ended = slices.Delete(s.ended, i, i+1)
	}
	if len(s.ended) == maxEnded {
		s.ended = slices.Delete(s.ended, 0, 1)
	}
	s.ended = append(s.ended, endedSpace{name: sp.name, floor: sp.position().marks, at: s.now().UnixMilli()})
}

// findEnded returns the index of a name in ended, -1 if it is not there. The caller holds mu.
func (s *Store) findEnded(name string) int {
	return slices.IndexFunc(s.ended, func(e endedSpace) bool { return e.name == name })
}

// sweepEvery is how often messages and sessions that are too old are dropped, to free their
// memory. They are never used in any case.
const sweepEvery = 5 * time.Second

// startSweeping makes sure that sweep runs. It is called when there is something to sweep.
func (s *Store) startSweeping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sweeps && !s.closed {
		s.sweeps = true
		s.stop = s.after(sweepEvery, s.sweep)
	}
}

// sweep drops what is too old, and empty rings. It runs until there are no rings, erasures
// or kept sessions, so an unused store has no timer.
func (s *Store) sweep() {
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	for _, sp := range list {
		sp.sweep()
	}
	s.own.forgetOld(s.now())
	if s.shared != nil {
		s.shared.forgetOld(s.now())
	}
	s.sessions.sweep(s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stats.topics.Load() == 0 && s.erasures.Load() == 0 && s.sessions.kept.Load() == 0 {
		s.sweeps = false
		return
	}
	s.stop = s.after(sweepEvery, s.sweep)
}

// makeRoom drops the oldest messages until the store is within its memory. At most
// one goroutine does that; the others go on.
func (s *Store) makeRoom() {
	if s.bytes.Load() <= s.memory || !s.room.TryLock() {
		return
	}
	defer s.room.Unlock()
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	total := len(list) * stripeCount
	for found := true; found && s.bytes.Load() > s.memory; {
		found = false
		for i := 0; i < total && s.bytes.Load() > s.memory; i++ {
			s.hand = (s.hand + 1) % total
			sp := list[s.hand/stripeCount]
			if stripes := sp.all(); stripes != nil {
				found = sp.evict(&stripes[s.hand%stripeCount]) || found
			}
		}
	}
}
