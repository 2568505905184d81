package sim

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// person is a presence: of one key there are versions, of which each replaces
// the one before. ref is the version's own name.
type person struct {
	ref, key string
	version  int
	prev     string // the ref that it replaces, or empty
}

func (p person) encode() []byte {
	return fmt.Appendf(nil, "%s %s %d %s", p.ref, p.key, p.version, p.prev)
}

func decodePerson(b []byte) person {
	f := strings.Split(string(b), " ")
	version, err := strconv.Atoi(f[2])
	if err != nil {
		panic(err)
	}
	return person{f[0], f[1], version, f[3]}
}

// people is a model of presences on one node: it tells its clients of those of
// its own, and of those of peers that are up, by differences, and checks each.
type people struct {
	town *town
	host *Host
	life *Life
	own  map[string]person
	of   map[*cluster.Peer]*crowd
	view map[string]person // what the clients have been told
}

// crowd are the presences of a peer.
type crowd struct {
	people map[string]person
	shown  bool
}

func newPeople(t *town, h *Host) *people {
	return &people{town: t, host: h, own: map[string]person{}, of: map[*cluster.Peer]*crowd{}, view: map[string]person{}}
}

// track makes or replaces a presence of this node.
func (k *people) track(p person) {
	delete(k.own, p.prev)
	delete(k.view, p.prev)
	k.own[p.ref], k.view[p.ref] = p, p
	k.append(cluster.TypeJoin, p.encode())
}

func (k *people) untrack(ref string) {
	delete(k.own, ref)
	delete(k.view, ref)
	k.town.left[ref] = k.town.Now()
	k.append(cluster.TypeLeave, []byte(ref))
}

func (k *people) append(typ byte, body []byte) {
	if _, err := k.life.Node.AppendState(typ, body); err != nil {
		k.town.fail("%s: a presence is refused: %v", k.host.Name, err)
	}
}

// change applies an entry to what a peer has. Entries may be there already in part: see
// cluster.Snapshotter.
func change(people map[string]person, typ byte, body []byte) {
	if typ == cluster.TypeLeave {
		delete(people, string(body))
		return
	}
	p := decodePerson(body)
	delete(people, p.prev)
	people[p.ref] = p
}

// Apply is cluster.Kind's.
func (k *people) Apply(p *cluster.Peer, typ byte, body []byte) {
	c := k.crowd(p)
	change(c.people, typ, body)
	k.show(p, "an entry")
}

// Snapshot is cluster.Snapshotter's.
func (k *people) Snapshot(size int, yield func([]byte)) {
	var part []byte
	for i, ref := range slices.Sorted(maps.Keys(k.own)) {
		if i == 2 { // what happens while it runs may be in it, or not
			for range 1 + k.town.Rand.IntN(5) {
				k.town.live(k.town.running[k.host])
			}
		}
		if _, there := k.own[ref]; !there {
			continue
		}
		line := append(k.own[ref].encode(), '\n')
		if len(part)+len(line) > size {
			yield(part)
			part = nil
		}
		part = append(part, line...)
	}
	if len(part) > 0 {
		yield(part)
	}
}

// Restore is cluster.Snapshotter's.
func (k *people) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	c := k.crowd(p)
	clear(c.people)
	for part := range parts {
		for line := range strings.Lines(string(part)) {
			one := decodePerson([]byte(strings.TrimSuffix(line, "\n")))
			c.people[one.ref] = one
		}
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

// Up is cluster.Kind's.
func (k *people) Up(p *cluster.Peer) {
	if k.crowd(p).shown {
		k.town.fail("%s is told that %s is up, which it is", k.host.Name, p.Name())
	}
	k.crowd(p).shown = true
	k.show(p, "up")
}

// Down is cluster.Kind's.
func (k *people) Down(p *cluster.Peer) {
	if !k.crowd(p).shown {
		k.town.fail("%s is told that %s is down, which it is", k.host.Name, p.Name())
	}
	k.crowd(p).shown = false
	k.show(p, "down")
}

// Gone is cluster.Kind's.
func (k *people) Gone(p *cluster.Peer) { delete(k.of, p) }

func (k *people) crowd(p *cluster.Peer) *crowd {
	if k.of[p] == nil {
		k.of[p] = &crowd{people: map[string]person{}}
	}
	return k.of[p]
}

// show tells the clients the difference between what they know of a peer and
// what there is.
func (k *people) show(p *cluster.Peer, cause string) {
	c := k.of[p]
	owner := k.town.lives[p.Log()]
	for _, ref := range slices.Sorted(maps.Keys(k.view)) {
		if _, there := c.people[ref]; there && c.shown || k.town.owners[ref] != owner {
			continue
		}
		k.tellLeave(ref, owner, cause)
	}
	if !c.shown {
		return
	}
	for _, ref := range slices.Sorted(maps.Keys(c.people)) {
		if _, known := k.view[ref]; !known {
			k.tellJoin(c.people[ref], cause)
		}
	}
}

// tellLeave checks that nobody leaves who is there.
func (k *people) tellLeave(ref string, owner *people, cause string) {
	gone := k.view[ref]
	delete(k.view, ref)
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
	k.view[p.ref] = p
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
