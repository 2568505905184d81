package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/presences"
	"github.com/mycelium-rt/mycelium/presence"
)

// desk is the real tracker of a node. It must tell clients what the model,
// people, tells them.
type desk struct {
	people  *people
	kind    *presences.Kind
	calls   cluster.Snapshotter // kind as a node calls it
	tracker *presence.Tracker   // nil while there is none
	guests  map[string]*guest   // the tracking channels, by key
	view    map[string]struct{} // the refs that clients have been told of
	sum     uint64              // of view
}

// guest is a channel that tracks one key.
type guest struct {
	topic string
	end   func()
}

func (g *guest) Topic() string          { return g.topic }
func (g *guest) Push(string, any) error { return nil }
func (g *guest) OnEnd(f func())         { g.end = f }

func newDesk(k *people) *desk {
	d := &desk{people: k, kind: presences.New()}
	d.calls = d.kind.Types()[cluster.TypeJoin].(cluster.Snapshotter)
	return d
}

// open makes a tracker, whose clients have been told nothing yet.
func (d *desk) open() {
	d.guests, d.view, d.sum = map[string]*guest{}, map[string]struct{}{}, 0
	life := d.people.life
	d.tracker = presence.New(d, presence.Options{
		Replicator: d.kind.Space("space"), Now: func() time.Time { return time.Unix(1_700_000_000, int64(life.Now())) },
	})
	for _, p := range d.people.own {
		d.people.town.fail("%s opens with %s of its own", d.people.host.Name, p.ref)
	}
	d.agree("open")
}

// reopen closes the tracker, as the end of an instance does, and makes another
// one after a while.
func (d *desk) reopen(after time.Duration) {
	k := d.people
	d.tracker.Close()
	d.tracker = nil
	for ref := range k.own {
		k.noteLeft(ref)
	}
	k.town.After(after, func() {
		k.life.do(func() {
			if d.tracker == nil {
				d.open()
			}
		})
	})
}

func (d *desk) track(p person) string {
	meta, g := json.RawMessage(fmt.Sprintf(`{"v":%d}`, p.version)), d.guests[p.key]
	track := d.tracker.Update
	if g == nil {
		g = &guest{topic: "room:" + p.key[len(p.key)-1:]}
		d.guests[p.key] = g
		track = d.tracker.Track
	}
	ref, err := track(g, p.key, meta)
	if err != nil {
		d.people.town.fail("%s cannot track %s: %v", d.people.host.Name, p.key, err)
	}
	return ref
}

func (d *desk) untrack(key string) {
	d.guests[key].end()
	delete(d.guests, key)
}

// BroadcastLocal implements presence.Broadcaster. It checks that a diff neither
// repeats nor contradicts an earlier one.
func (d *desk) BroadcastLocal(_, _ string, payload any) error {
	diff, err := payload.(json.Marshaler).MarshalJSON() // json.Marshal would copy it
	if err != nil {
		return err
	}
	joins, leaves, ok := bytes.Cut(diff, []byte(`},"leaves":{`))
	if !ok {
		d.people.town.fail("not a diff: %s", diff)
	}
	for ref := range refsIn(joins) {
		if _, there := d.view[ref]; there {
			d.people.town.fail("%s: a diff has %s join again", d.people.host.Name, ref)
		}
		d.view[ref] = struct{}{}
		d.sum += sumOf(ref)
	}
	for ref := range refsIn(leaves) {
		if _, there := d.view[ref]; !there {
			d.people.town.fail("%s: a diff has %s leave, which was not there", d.people.host.Name, ref)
		}
		delete(d.view, ref)
		d.sum -= sumOf(ref)
	}
	return nil
}

// agree checks that tracker and model have told clients the same.
func (d *desk) agree(cause string) {
	k := d.people
	if d.tracker == nil || d.sum == k.sum {
		return
	}
	var wrong []string
	for ref := range d.view {
		if _, ok := k.view[ref]; !ok {
			wrong = append(wrong, "not "+ref)
		}
	}
	for ref := range k.view {
		if _, ok := d.view[ref]; !ok {
			wrong = append(wrong, ref)
		}
	}
	k.town.fail("%s: after %s clients should know %s", k.host.Name, cause, strings.Join(wrong, ", "))
}

// checkState checks that a client that joins now gets the presences that the
// others have been told of.
func (d *desk) checkState() {
	if d.tracker == nil {
		return
	}
	there := 0
	for digit := range 10 {
		for ref := range refsIn(d.tracker.AppendList(nil, "room:"+strconv.Itoa(digit))) {
			if _, ok := d.view[ref]; !ok {
				d.people.town.fail("%s has %s in its state, but told no client of it", d.people.host.Name, ref)
			}
			there++
		}
	}
	if there != len(d.view) {
		d.people.town.fail("%s has %d presences in its states, but told clients of %d", d.people.host.Name, there, len(d.view))
	}
}

const refPrefix, prevPrefix = `{"phx_ref":"`, `,"phx_ref_prev":"`

// refsIn returns the phx_refs of the metas in a piece of JSON.
func refsIn(text []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			i := bytes.Index(text, []byte(refPrefix))
			if i < 0 {
				return
			}
			text = text[i+len(refPrefix):]
			if !yield(string(text[:16])) {
				return
			}
		}
	}
}

// sumOf returns a hash of a ref. The sums of two different sets of refs differ.
func sumOf(ref string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(ref))
	return h.Sum64()
}

// parseChange parses an entry about a presence, independently of the package
// under test.
func parseChange(b []byte) (space, topic, key, rest string) {
	next := func() (s string) {
		n, size := binary.Uvarint(b)
		s, b = string(b[size:size+int(n)]), b[size+int(n):]
		return s
	}
	return next(), next(), next(), string(b)
}

func parsePerson(key, meta string) person {
	p := person{key: key}
	p.ref, meta, _ = strings.Cut(meta[len(refPrefix):], `"`)
	if strings.HasPrefix(meta, prevPrefix) {
		p.prev, meta, _ = strings.Cut(meta[len(prevPrefix):], `"`)
	}
	p.version, _ = strconv.Atoi(strings.Trim(meta, `,"v:}`))
	return p
}

// parseSnapshot reads a snapshot of presences.
func parseSnapshot(parts iter.Seq[[]byte]) (all []person) {
	var stream []byte
	for part := range parts {
		stream = append(stream, part...)
	}
	for len(stream) > 0 {
		n, size := binary.Uvarint(stream[1:])
		body := stream[1+size : 1+size+int(n)]
		if stream[0] == 3 {
			n, size := binary.Uvarint(body)
			key := string(body[size : size+int(n)])
			all = append(all, parsePerson(key, string(body[size+int(n):])))
		}
		stream = stream[1+size+int(n):]
	}
	return all
}
