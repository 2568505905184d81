package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/history"
)

// town is a world whose nodes have people and talk. It records what is true.
type town struct {
	*World
	limits  cluster.Limits
	lives   map[cluster.LogID]*people
	running map[*Host]*resident
	owners  map[string]*people       // by ref
	left    map[string]time.Duration // when a ref was untracked
	told    map[toldKey]int          // the newest version
	refs    int
	quiet   time.Duration // when the network became good

	rule      history.Rule // without readers nothing is recorded
	memory    int64
	chronicle chronicle
	said      int
	readers   []*reader
	states    map[history.Reason]int // what readers were told
	visitors  []*visitor
	connected bool // routes are not cut
	calm      bool // all visitors have acknowledged everything
	// How often a session was known, and was not, and a message came again.
	kept, lostSessions, again int

	failure             string
	restores, heard     int
	delivered, erasures int
}

// resident is a node that runs on a host.
type resident struct {
	*people
	talk    *talk
	archive *archive // nil in towns without readers
}

func newTown(seed uint64, tracing bool) *town {
	t := &town{
		World: New(seed), lives: map[cluster.LogID]*people{}, running: map[*Host]*resident{},
		owners: map[string]*people{}, left: map[string]time.Duration{}, told: map[toldKey]int{}, chronicle: chronicle{}, states: map[history.Reason]int{},
	}
	t.Tracing = tracing
	return t
}

// fail records the first failure.
func (t *town) fail(format string, args ...any) {
	if t.failure == "" {
		t.failure = fmt.Sprintf("after %v: ", t.Now()) + fmt.Sprintf(format, args...)
		t.Note("FAILED %s", t.failure)
	}
}

func (t *town) failed() bool { return t.failure != "" }

func (t *town) start(h *Host) {
	r := &resident{people: newPeople(t, h), talk: newTalk(t, h)}
	kinds := map[byte]cluster.Kind{cluster.TypeJoin: r.people, cluster.TypeLeave: r.people, cluster.TypeBroadcast: r.talk}
	id := cluster.LogID(t.Rand.Uint64() | 1)
	if len(t.readers) > 0 {
		r.archive = newArchive(t, h, id)
		maps.Copy(kinds, r.archive.kind.Types())
	}
	r.life = h.Start(cluster.Options{
		Limits: t.limits, Version: byte(1 + t.Rand.IntN(2)), ID: id, Kinds: kinds,
		OnConflict: func(err error) { t.fail("%s gives way: %v", h.Name, err) },
	})
	r.talk.life = r.life
	if r.archive != nil {
		r.archive.start(r.life)
		t.soon(r, r.archive.open)
	}
	r.desk.kind.Start(r.life.Node)
	t.soon(r, r.desk.open)
	t.lives[r.life.Node.ID()] = r.people
	t.running[h] = r
}

// soon calls f now or, at times, when the node has run for a while.
func (t *town) soon(r *resident, f func()) {
	if t.Rand.IntN(8) > 0 {
		f()
	} else {
		t.After(t.upTo(5*time.Second), func() { r.life.do(f) })
	}
}

func (t *town) end(h *Host, end func()) {
	if a := t.running[h].archive; a != nil {
		for _, l := range slices.Clone(a.lines) {
			l.end()
			t.After(t.upTo(3*time.Second), func() { l.v.lose(l) })
		}
	}
	end()
	for _, r := range t.readers {
		if r.at != nil && r.at == t.running[h].archive {
			r.cut()
		}
	}
	delete(t.running, h)
}

// settles reports whether the network has been good for a while: nothing may change from
// then on until nodes are compared.
func (t *town) settles() bool { return t.quiet > 0 && t.Now()-t.quiet > 5*time.Second }

// awake returns the residents that are not paused, in the order of hosts.
func (t *town) awake() (all []*resident) {
	for _, h := range t.Hosts {
		if r := t.running[h]; r != nil && !r.life.Paused() {
			all = append(all, r)
		}
	}
	return all
}

// usurped reports whether the late packets of a dead log of an owner's name may
// have made others take that log for the living one, for some seconds.
func (t *town) usurped(owner *people) bool {
	n := 0
	for _, p := range t.lives {
		if p.host == owner.host {
			n++
		}
	}
	return n > 1
}

// live broadcasts messages or changes a presence.
func (t *town) live(r *resident) {
	if t.Rand.IntN(3) == 0 {
		for range 1 + t.Rand.IntN(10) {
			r.talk.say(t.length())
		}
		return
	}
	t.change(r)
}

// change tracks, updates or untracks a presence, or reopens the tracker.
func (t *town) change(r *resident) {
	switch refs := slices.Sorted(maps.Keys(r.own)); {
	case r.desk.tracker == nil:
	case t.Rand.IntN(200) == 0:
		r.desk.reopen(t.upTo(time.Second))
	case len(refs) > 0 && t.Rand.IntN(3) == 0:
		r.untrack(refs[t.Rand.IntN(len(refs))])
	case len(refs) > 0 && t.Rand.IntN(2) == 0:
		old := r.own[refs[t.Rand.IntN(len(refs))]]
		t.track(r, person{key: old.key, version: old.version + 1, prev: old.ref})
		t.left[old.ref] = t.Now()
	default:
		t.track(r, person{key: fmt.Sprint(r.host.Name, "-", t.refs+1)})
	}
}

// length returns the size of a message. Some must be sent in fragments.
func (t *town) length() int {
	switch {
	case t.limits.Packet > 0 && t.Rand.IntN(20) == 0:
		return t.Rand.IntN(4 * t.limits.Packet)
	case t.Rand.IntN(500) == 0:
		return 150 << 10
	}
	return 0
}

func (t *town) track(r *resident, p person) {
	t.refs++
	r.track(p)
}
