package sim

import (
	"iter"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// person is one version of a presence. Each version of a key replaces the one
// before. ref is the version's phx_ref.
type person struct {
	ref, key string
	version  int
	prev     string // the ref that it replaces, or empty
}

// people is a model of the presences on one node. It tells its clients, in
// diffs, of its own presences and of those of peers that are up, and checks each
// diff. The node also has a real tracker, whose diffs must be the same.
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

// crowd holds the presences of a peer.
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
	k.noteLeft(ref)
	k.desk.agree("an untrack")
}

// noteLeft removes a presence of this node that was untracked.
func (k *people) noteLeft(ref string) {
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

// change applies an entry to a peer's presences. Some of what a tail says may
// already be in the snapshot: see cluster.Snapshotter.
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

// Snapshot implements cluster.Snapshotter. It makes changes between the parts,
// which may or may not be in the snapshot.
func (k *people) Snapshot(size int, yield func([]byte)) {
	parts := 0
	k.desk.calls.Snapshot(size, func(part []byte) {
		yield(part)
		if parts++; parts <= 4 && !k.town.settles() && k.town.Rand.IntN(2) == 0 {
			for range 1 + k.town.Rand.IntN(20) { // sometimes more than Limits.Hold
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

// Lost implements cluster.Kind. It is never called for a Snapshotter.
func (k *people) Lost(p *cluster.Peer, n uint64) {
	k.town.fail("a kind with snapshots was told of %d losses of %s", n, p.Name())
}

// Up implements cluster.Kind.
func (k *people) Up(p *cluster.Peer) {
	if k.crowd(p).shown {
		k.town.fail("%s is told twice that %s is up", k.host.Name, p.Name())
	}
	k.desk.calls.Up(p)
	k.crowd(p).shown = true
	k.show(p, "up")
}

// Down implements cluster.Kind.
func (k *people) Down(p *cluster.Peer) {
	if !k.crowd(p).shown {
		k.town.fail("%s is told twice that %s is down", k.host.Name, p.Name())
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

// show tells the clients how a peer's presences differ from what they know.
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

// tellLeave checks that a presence that leaves is no longer there.
func (k *people) tellLeave(ref string, owner *people, cause string) {
	gone := k.view[ref]
	k.unsee(ref)
	if owner.life.ended || owner.host.life != owner.life {
		return
	}
	_, has := owner.own[ref]
	switch silence := k.town.Silence(owner.host, k.host); {
	case !has:
	case cause == "down" && silence >= cluster.DownAfter-time.Second: // a node does not notice that it paused so briefly, twice
	case cause == "down" && k.town.usurped(owner):
	default:
		k.town.fail("%s: %s (%s) leaves after %s, but %s, heard %v ago, still has it", k.host.Name, gone.key, ref, cause, owner.host.Name, silence)
	}
}

// tellJoin checks that a presence does not go back to an older version.
func (k *people) tellJoin(p person, cause string) {
	k.see(p)
	at := toldKey{k, p.key}
	if p.version < k.town.told[at] {
		k.town.fail("%s shows version %d of %s after %s, having shown version %d", k.host.Name, p.version, p.key, cause, k.town.told[at])
	}
	k.town.told[at] = p.version
	owner := k.town.owners[p.ref]
	left, ok := k.town.left[p.ref]
	if since := k.town.HeardAgain(owner.host, k.host); ok && left+lateness+longestPause < since && cause == "up" {
		k.town.fail("%s shows %s (%s), which left %v before %s was heard again", k.host.Name, p.key, p.ref, since-left, owner.host.Name)
	}
}

// toldKey is a key that a node's clients were told of.
type toldKey struct {
	by  *people
	key string
}
