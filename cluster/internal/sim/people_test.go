package sim

import (
	"iter"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// person is a presence: of one key there are versions, of which each replaces
// the one before. ref is the version's own name, its phx_ref.
type person struct {
	ref, key string
	version  int
	prev     string // the ref that it replaces, or empty
}

// people is a model of presences on one node: it tells its clients of those of
// its own, and of those of peers that are up, by differences, and checks each.
// The node has a real tracker too, whose diffs must be the same.
type people struct {
	town *town
	host *Host
	life *Life
	desk *desk
	own  map[string]person
	of   map[*cluster.Peer]*crowd
	view map[string]person // what the clients have been told
	sum  uint64            // of view: see sumOf
}

// crowd are the presences of a peer.
type crowd struct {
	people map[string]person
	shown  bool
}

func newPeople(t *town, h *Host) *people {
	k := &people{town: t, host: h, own: map[string]person{}, of: map[*cluster.Peer]*crowd{}, view: map[string]person{}}
	k.desk = newDesk(k)
	return k
}

// track makes or replaces a presence of this node, and returns it with its ref.
func (k *people) track(p person) person {
	p.ref = k.desk.track(p)
	k.town.owners[p.ref] = k
	delete(k.own, p.prev)
	k.unsee(p.prev)
	k.own[p.ref] = p
	k.see(p)
	k.desk.agree("a track")
	return p
}

func (k *people) untrack(ref string) {
	k.desk.untrack(k.own[ref].key)
	k.left(ref)
	k.desk.agree("an untrack")
}

// left is for when a presence of this node has been untracked.
func (k *people) left(ref string) {
	delete(k.own, ref)
	k.unsee(ref)
	k.town.left[ref] = k.town.Now()
}

func (k *people) see(p person) {
	k.view[p.ref] = p
	k.sum += sumOf(p.ref)
}

func (k *people) unsee(ref string) {
	if _, ok := k.view[ref]; ok {
		delete(k.view, ref)
		k.sum -= sumOf(ref)
	}
}

// change applies an entry to what a peer has. Entries may be there already in part: see
// cluster.Snapshotter.
func change(people map[string]person, typ byte, body []byte) {
	_, _, key, rest := parseChange(body)
	if typ == cluster.TypeLeave {
		delete(people, rest)
		return
	}
	p := parsePerson(key, rest)
	delete(people, p.prev)
	people[p.ref] = p
}

// Apply implements cluster.Kind.
func (k *people) Apply(p *cluster.Peer, typ byte, body []byte) {
	k.desk.calls.Apply(p, typ, body)
	change(k.crowd(p).people, typ, body)
	k.show(p, "an entry")
}

// Snapshot implements cluster.Snapshotter. What happens while it runs may be in it, or
// not.
func (k *people) Snapshot(size int, yield func([]byte)) {
	parts := 0
	k.desk.calls.Snapshot(size, func(part []byte) {
		yield(part)
		if parts++; parts <= 4 && k.town.Rand.IntN(2) == 0 {
			for range 1 + k.town.Rand.IntN(20) { // more at times than Limits.Hold takes
				k.town.change(k.town.running[k.host])
			}
		}
	})
}

// Restore implements cluster.Snapshotter.
func (k *people) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	k.desk.calls.Restore(p, parts, tail)
	c := k.crowd(p)
	clear(c.people)
	for _, one := range parseSnapshot(parts) {
		delete(c.people, one.prev)
		c.people[one.ref] = one
	}
	for typ, body := range tail {
		change(c.people, typ, body)
	}
	k.town.restores++
	k.show(p, "a snapshot")
}

// Lost is cluster.Kind's; a Snapshotter is not told.
func (k *people) Lost(p *cluster.Peer, n uint64) {
	k.town.fail("a kind with snapshots is told of losses")
}

// Up implements cluster.Kind.
func (k *people) Up(p *cluster.Peer) {
	if k.crowd(p).shown {
		k.town.fail("%s is told that %s is up, which it is", k.host.Name, p.Name())
	}
	k.desk.calls.Up(p)
	k.crowd(p).shown = true
	k.show(p, "up")
}

// Down implements cluster.Kind.
func (k *people) Down(p *cluster.Peer) {
	if !k.crowd(p).shown {
		k.town.fail("%s is told that %s is down, which it is", k.host.Name, p.Name())
	}
	k.desk.calls.Down(p)
	k.crowd(p).shown = false
	k.show(p, "down")
}

// Gone implements cluster.Kind.
func (k *people) Gone(p *cluster.Peer) {
	k.desk.calls.Gone(p)
	delete(k.of, p)
	k.desk.agree("a peer that is gone")
}

func (k *people) crowd(p *cluster.Peer) *crowd {
	if k.of[p] == nil {
		k.of[p] = &crowd{people: map[string]person{}}
	}
	return k.of[p]
}

// show tells the clients the difference between what they know of a peer and
// what there is.
func (k *people) show(p *cluster.Peer, cause string) {
	defer k.desk.agree(cause)
	c := k.of[p]
	owner := k.town.lives[p.Log()]
	var leaves, joins []string
	for ref := range k.view {
		if _, there := c.people[ref]; k.town.owners[ref] == owner && (!there || !c.shown) {
			leaves = append(leaves, ref)
		}
	}
	for ref := range c.people {
		if _, known := k.view[ref]; c.shown && !known {
			joins = append(joins, ref)
		}
	}
	slices.Sort(leaves)
	for _, ref := range leaves {
		k.tellLeave(ref, owner, cause)
	}
	slices.Sort(joins)
	for _, ref := range joins {
		k.tellJoin(c.people[ref], cause)
	}
}

// tellLeave checks that nobody leaves who is there.
func (k *people) tellLeave(ref string, owner *people, cause string) {
	gone := k.view[ref]
	k.unsee(ref)
	if owner.life.ended || owner.host.life != owner.life {
		return
	}
	_, has := owner.own[ref]
	switch silence := k.town.Silence(owner.host, k.host); {
	case !has:
	case cause == "down" && silence >= cluster.DownAfter-time.Second/2: // a node does not notice that it paused so briefly
	case cause == "down" && k.town.usurped(owner):
	default:
		k.town.fail("%s tells that %s (%s) leaves by %s, but %s has it, heard %v ago", k.host.Name, gone.key, ref, cause, owner.host.Name, silence)
	}
}

// tellJoin checks that versions do not go back.
func (k *people) tellJoin(p person, cause string) {
	k.see(p)
	at := told{k, p.key}
	if p.version < k.town.told[at] {
		k.town.fail("%s tells version %d of %s by %s, after version %d", k.host.Name, p.version, p.key, cause, k.town.told[at])
	}
	k.town.told[at] = p.version
	owner := k.town.owners[p.ref]
	left, ok := k.town.left[p.ref]
	if since := k.town.HeardAgain(owner.host, k.host); ok && left+lateness+longestPause < since && cause == "up" {
		k.town.fail("%s tells that %s (%s) is there, who left %v before %s was heard again", k.host.Name, p.key, p.ref, since-left, owner.host.Name)
	}
}

// told is a key and who was told of it.
type told struct {
	by  *people
	key string
}
