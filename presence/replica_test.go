package presence

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// told is an entry of a node's log, as its tracker gives it to its replicator.
type told struct {
	join           bool
	topic, key, at string // at: the meta, or the phx_ref
}

type rosterLike interface {
	Join(topic, key, meta string)
	Leave(topic, key, ref string)
}

func (e told) apply(to rosterLike) {
	if e.join {
		to.Join(e.topic, e.key, e.at)
	} else {
		to.Leave(e.topic, e.key, e.at)
	}
}

// ledger is a Replicator that keeps a log.
type ledger struct {
	number  uint16
	entries []told
	opened  int
	closed  int
}

func (l *ledger) Open(*Tracker) (uint16, error) { l.opened++; return l.number, nil }
func (l *ledger) Close(*Tracker)                { l.closed++ }
func (l *ledger) Join(topic, key, meta string) {
	l.entries = append(l.entries, told{true, topic, key, meta})
}
func (l *ledger) Leave(topic, key, ref string) {
	l.entries = append(l.entries, told{false, topic, key, ref})
}

// refs are who is there by the log's first n entries: the topics of phx_refs. It is a model of Roster and Replica.
func (l *ledger) refs(n int) map[string]string {
	there := make(map[string]string)
	for _, e := range l.entries[:n] {
		if !e.join {
			delete(there, e.at)
			continue
		}
		delete(there, prevOf(e.at))
		there[refOf(e.at)] = e.topic
	}
	return there
}

// site is a node with clients, and what it knows of other nodes.
type site struct {
	*node
	tracker *Tracker
	log     *ledger
	calls   *fetches // nil without Fetch
	peers   []*peer
	of      map[*ledger]*following
}

// flush ends the window, and has all calls of Fetch made.
func (s *site) flush() {
	s.tracker.Flush()
	s.calls.answerAll()
}

func (s *site) close() {
	s.calls.free(s.tracker)
	s.tracker.Close()
}

type following struct {
	replica *Replica
	applied int
	up      bool
}

// region is some nodes that follow each other.
type region struct {
	sites   []*site
	window  time.Duration
	payload int
	pace    pace
	fetch   bool
	started uint16
	metas   int
}

func newRegion(sites int, window time.Duration, payload int, p pace) *region {
	return (&region{window: window, payload: payload, pace: p}).withSites(sites)
}

func (r *region) withSites(sites int) *region {
	for range sites {
		s := &site{}
		r.sites = append(r.sites, s)
		r.start(s)
	}
	return r
}

// start begins a new life of a node. Others learn of it as of a new one.
func (r *region) start(s *site) {
	r.started++
	s.node, s.log, s.of = newNode(), &ledger{number: r.started}, make(map[*ledger]*following)
	o := Options{Window: r.window, Replicator: s.log}
	if r.fetch {
		s.calls = &fetches{values: make(map[string]map[string]bool)}
		o.Fetch = s.calls.fetch
	}
	s.tracker = New(s.node, o)
	s.calls.hold(s.tracker)
	s.tracker.maxPayload, s.tracker.chunkBytes, s.tracker.pace = r.payload, 100, r.pace
	s.peers = nil
	for i := range 3 {
		s.peers = append(s.peers, &peer{
			topic: fmt.Sprint("room:", i/2), tracked: make(map[string]bool),
			client: &client{state: make(map[string][]meta), parts: r.payload < maxPayload},
		})
	}
	for _, other := range r.sites {
		if other == s {
			continue
		}
		other.of[s.log] = &following{replica: other.tracker.NewReplica()}
		s.of[other.log] = &following{replica: s.tracker.NewReplica()}
	}
}

func (r *region) meta() json.RawMessage {
	r.metas++
	return json.RawMessage(fmt.Sprintf(`{"n":%d}`, r.metas))
}

// deliver applies some of the entries that other has and s has not.
func (s *site) deliver(other *site, most int) {
	f := s.of[other.log]
	for ; f.applied < len(other.log.entries) && most > 0; most-- {
		other.log.entries[f.applied].apply(f.replica)
		f.applied++
	}
}

// restore replaces what s has of other by a snapshot, during which busy is called.
func (s *site) restore(other *site, busy func()) {
	f, at, roster := s.of[other.log], len(other.log.entries), &Roster{}
	other.tracker.Own(func(topic, key, meta string) {
		roster.Join(topic, key, meta)
		busy()
	})
	for _, e := range other.log.entries[at:] {
		e.apply(roster)
	}
	f.replica.Replace(roster)
	f.applied = len(other.log.entries)
}

func (f *following) turn(up bool) {
	if f.up = up; up {
		f.replica.Up()
	} else {
		f.replica.Down()
	}
}

// check holds what the clients of s were told against its tracker, and that against the logs.
func (s *site) check(flushed bool) error {
	want, stepping := map[string]string{}, false
	for log, f := range s.of {
		there := log.refs(f.applied)
		stepping = stepping || f.replica.stepping
		if f.up {
			for ref, topic := range there {
				want[ref] = topic
			}
		}
		roster := map[string]string{}
		for topic, list := range f.replica.Roster().topics {
			for ref := range list {
				roster[string(ref[:])] = topic
			}
		}
		if len(roster) != len(there) {
			return fmt.Errorf("a replica has %v, the log %v", roster, there)
		}
	}
	if flushed {
		for ref, topic := range s.log.refs(len(s.log.entries)) {
			want[ref] = topic
		}
	}
	for _, p := range s.peers {
		if err := p.receive(); err != nil {
			return err
		}
		list, has := sorted(withoutPrevs(shape(s.tracker.List(p.topic)))), sorted(withoutPrevs(p.client.shape()))
		if p.channel != nil && p.client.synced() && flushed && !sameShape(has, list) {
			return fmt.Errorf("a client has %v, the list is %v", has, list)
		}
	}
	if !flushed || stepping {
		return nil
	}
	there := 0
	for _, topic := range []string{"room:0", "room:1"} {
		for _, e := range s.tracker.List(topic) {
			for _, m := range e.Metas {
				if there++; want[m.Ref] != topic {
					return fmt.Errorf("%s has %s, which it should not", topic, m.Ref)
				}
			}
		}
	}
	if there != len(want) {
		return fmt.Errorf("%d presences, want %d", there, len(want))
	}
	return nil
}

// TestReplicas has the clients of three nodes come, go and change at random while nodes follow each other, lose sight of
// each other, take snapshots and restart. At any time clients have what their node has and what others that are
// up have told it, by diffs that repeat and miss nothing; in the end all nodes have the same.
func TestReplicas(t *testing.T) {
	for name, c := range map[string]struct {
		window  time.Duration
		payload int
		pace    pace
		fetch   bool
	}{
		"at once": {0, maxPayload, defaultPace, false}, "window": {time.Hour, maxPayload, defaultPace, false}, "in parts": {0, 180, defaultPace, false},
		"in steps":              {0, maxPayload, pace{first: 50, next: 40}, false}, // one or two presences
		"in parts, by a window": {time.Hour, 180, pace{first: 50, next: 40}, false},
		"fetch":                 {0, maxPayload, defaultPace, true},
		"fetch, in steps":       {0, maxPayload, pace{first: 50, next: 40}, true},
		"fetch, by a window":    {time.Hour, 220, pace{first: 50, next: 40}, true},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				r := &region{window: c.window, payload: c.payload, pace: c.pace, fetch: c.fetch}
				runRegion(t, r.withSites(3))
			})
		})
	}
}

func runRegion(t *rapid.T, r *region) {
	defer func() {
		for _, s := range r.sites {
			s.close()
		}
	}()
	draw := func(t *rapid.T) *site { return rapid.SampledFrom(r.sites).Draw(t, "site") }
	two := func(t *rapid.T) (a, b *site) {
		i := rapid.IntRange(0, len(r.sites)-1).Draw(t, "site")
		j := rapid.IntRange(1, len(r.sites)-1).Draw(t, "other")
		return r.sites[i], r.sites[(i+j)%len(r.sites)]
	}
	leave := func(p *peer) {
		if p.channel != nil {
			p.channel.end()
			p.channel = nil
			clear(p.tracked)
		}
	}
	join := func(s *site, p *peer) {
		leave(p)
		p.channel = s.join(p.topic)
		p.client.rejoin()
	}
	change := func(t *rapid.T, s *site) {
		p := rapid.SampledFrom(s.peers).Draw(t, "peer")
		if p.channel == nil {
			join(s, p)
		}
		key := rapid.SampledFrom([]string{"ann", "bob", `quo"te`}).Draw(t, "key")
		var err error
		switch what := rapid.IntRange(0, 4).Draw(t, "change"); {
		case !p.tracked[key]:
			_, err = s.tracker.Track(p.channel, key, r.meta())
			p.tracked[key] = true
		case what < 3:
			_, err = s.tracker.Update(p.channel, key, r.meta())
		default:
			s.tracker.Untrack(p.channel, key)
			delete(p.tracked, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flushed := make(map[*site]bool)
	t.Repeat(map[string]func(*rapid.T){
		"change":  func(t *rapid.T) { change(t, draw(t)) },
		"change2": func(t *rapid.T) { change(t, draw(t)) },
		"end":     func(t *rapid.T) { leave(rapid.SampledFrom(draw(t).peers).Draw(t, "peer")) },
		"state": func(t *rapid.T) {
			s := draw(t)
			p := rapid.SampledFrom(s.peers).Draw(t, "peer")
			if p.channel == nil {
				join(s, p)
			}
			if err := s.tracker.PushState(p.channel); err != nil {
				t.Fatal(err)
			}
		},
		"deliver": func(t *rapid.T) {
			a, b := two(t)
			a.deliver(b, rapid.IntRange(1, 5).Draw(t, "entries"))
		},
		"snapshot": func(t *rapid.T) {
			a, b := two(t)
			a.restore(b, func() {
				if rapid.IntRange(0, 2).Draw(t, "busy") == 0 {
					change(t, b)
				}
			})
		},
		"up":   func(t *rapid.T) { a, b := two(t); a.of[b.log].turn(true) },
		"down": func(t *rapid.T) { a, b := two(t); a.of[b.log].turn(false) },
		"step": func(t *rapid.T) {
			a, b := two(t)
			if f := a.of[b.log]; f.replica.stepping {
				f.replica.showStep(a.tracker.pace.next)
			}
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
				return
			}
			s := draw(t)
			for _, other := range r.sites {
				if f := other.of[s.log]; f != nil {
					f.replica.Gone()
					for f.replica.stepping {
						f.replica.showStep(other.tracker.pace.next)
					}
					delete(other.of, s.log)
				}
			}
			s.close()
			r.start(s)
		},
		"flush": func(t *rapid.T) {
			s := draw(t)
			s.flush()
			flushed[s] = true
		},
		"answer": func(t *rapid.T) { draw(t).calls.answerAny(t) },
		"": func(t *rapid.T) {
			for i, s := range r.sites {
				if err := s.check((r.window == 0 || flushed[s]) && !s.calls.waits()); err != nil {
					t.Fatalf("node %d: %v", i, err)
				}
			}
			clear(flushed)
		},
	})
	r.settle(t)
	for _, s := range r.sites {
		for _, p := range s.peers {
			leave(p)
		}
		s.flush()
	}
	r.settle(t)
	for _, s := range r.sites {
		if err := leftovers(s.tracker); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.of {
			if len(f.replica.shelves) != 0 {
				t.Fatalf("%d empty shelves", len(f.replica.shelves))
			}
		}
	}
}

// settle lets everybody hear of everything, and compares the nodes.
func (r *region) settle(t *rapid.T) {
	for _, s := range r.sites {
		s.flush()
	}
	for _, s := range r.sites {
		for _, other := range r.sites {
			if other != s {
				s.deliver(other, len(other.log.entries))
				s.of[other.log].turn(true)
				for f := s.of[other.log]; f.replica.stepping; {
					f.replica.showStep(s.tracker.pace.next)
				}
			}
		}
		s.flush()
	}
	for i, s := range r.sites {
		if err := s.check(true); err != nil {
			t.Fatalf("node %d in the end: %v", i, err)
		}
		for _, topic := range []string{"room:0", "room:1"} {
			if a, b := s.tracker.Count(topic), r.sites[0].tracker.Count(topic); a != b {
				t.Fatalf("node %d has %d keys in %s, node 0 %d", i, a, topic, b)
			}
		}
	}
}

// TestReplicaSeen: presences of another node are in the state, List, Get, Count and AppendList as local ones are, under the
// keys of local ones too.
func TestReplicaSeen(t *testing.T) {
	r := newRegion(2, 0, maxPayload, defaultPace)
	a, b := r.sites[0], r.sites[1]
	defer a.tracker.Close()
	defer b.tracker.Close()
	here, there := a.join("room:0"), b.join("room:0")
	r1 := track(t, b.tracker, there, "ann", json.RawMessage(`{"n":1}`))
	a.of[b.log].turn(true)
	a.deliver(b, 1)
	r2 := track(t, a.tracker, here, "ann", json.RawMessage(`{"n":2}`))
	r3 := update(t, b.tracker, there, "ann", json.RawMessage(`{"n":3}`))
	a.deliver(b, 1)
	m2, m3 := fmt.Sprintf(`{"phx_ref":%q,"n":2}`, r2), fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q,"n":3}`, r3, r1)
	want := fmt.Sprintf(`{"ann":{"metas":[%s,%s]}}`, m2, m3)
	if got := string(a.tracker.AppendList(nil, "room:0")); got != want {
		t.Errorf("list %s, want %s", got, want)
	}
	here.take()
	if err := a.tracker.PushState(here); err != nil {
		t.Fatal(err)
	}
	if got := here.take(); len(got) != 1 || got[0].payload != want {
		t.Errorf("state %v, want %s", got, want)
	}
	if metas := a.tracker.Get("room:0", "ann"); len(metas) != 2 || metas[1].Ref != r3 || metas[1].PrevRef != r1 || a.tracker.Count("room:0") != 1 {
		t.Errorf("Get %v", metas)
	}
	a.takeDiffs()
	a.of[b.log].turn(false)
	wantDiffs(t, a.node, fmt.Sprintf(`{"joins":{},"leaves":{"ann":{"metas":[%s]}}}`, m3))
	// What comes while it is hidden is shown in one diff; nobody here knows what it was updated from.
	r4 := update(t, b.tracker, there, "ann", json.RawMessage(`{"n":4}`))
	a.deliver(b, 1)
	wantDiffs(t, a.node)
	a.of[b.log].turn(true)
	wantDiffs(t, a.node, fmt.Sprintf(`{"joins":{"ann":{"metas":[{"phx_ref":%q,"n":4}]}},"leaves":{}}`, r4))
	for ref, number := range map[string]uint16{r2: a.log.number, r1: b.log.number} {
		raw, err := base64.URLEncoding.DecodeString(ref)
		if got := binary.BigEndian.Uint16(raw[8:]); err != nil || got != number {
			t.Errorf("%s is of node %d (%v), not of %d", ref, got, err, number)
		}
	}
}

// TestReplicaWindow: within a window of this node an update of an update names what clients here know.
func TestReplicaWindow(t *testing.T) {
	r := newRegion(2, 0, maxPayload, defaultPace)
	a, b := r.sites[0], r.sites[1]
	defer a.tracker.Close()
	defer b.tracker.Close()
	a.tracker.options.Window = time.Hour
	a.of[b.log].turn(true)
	c := b.join("room:0")
	r1 := track(t, b.tracker, c, "ann", struct{}{})
	a.deliver(b, 1)
	a.tracker.Flush()
	a.takeDiffs()
	update(t, b.tracker, c, "ann", struct{}{})
	r3 := update(t, b.tracker, c, "ann", json.RawMessage(`{"a":1}`))
	update(t, b.tracker, b.join("room:0").tracked(t, b.tracker, "bob"), "bob", struct{}{})
	a.deliver(b, 10)
	a.tracker.Flush()
	bob := a.tracker.Get("room:0", "bob")[0]
	wantDiffs(t, a.node, fmt.Sprintf(`{"joins":{"ann":{"metas":[{"phx_ref":%q,"phx_ref_prev":%q,"a":1}]},"bob":{"metas":[{"phx_ref":%q}]}},`+
		`"leaves":{"ann":{"metas":[{"phx_ref":%q}]}}}`, r3, r1, bob.Ref, r1))
}

func (c *channel) tracked(t *testing.T, tr *Tracker, key string) *channel {
	track(t, tr, c, key, struct{}{})
	return c
}

// TestReplicateWindow: other nodes are told what clients are told, once for a window.
func TestReplicateWindow(t *testing.T) {
	log := &ledger{}
	n := newNode()
	tr := New(n, Options{Window: time.Hour, Replicator: log})
	a, b := n.join("room:1"), n.join("room:1")
	track(t, tr, a, "ann", struct{}{})
	r2 := update(t, tr, a, "ann", struct{}{})
	track(t, tr, b, "bob", struct{}{})
	b.end()
	if len(log.entries) != 0 {
		t.Errorf("%v before the window is over", log.entries)
	}
	tr.Flush()
	m2 := fmt.Sprintf(`{"phx_ref":%q}`, r2)
	if len(log.entries) != 1 || log.entries[0] != (told{true, "room:1", "ann", m2}) {
		t.Errorf("%v", log.entries)
	}
	tr.Close()
	tr.Close()
	if last := log.entries[len(log.entries)-1]; len(log.entries) != 2 || last != (told{false, "room:1", "ann", r2}) || log.opened != 1 || log.closed == 0 {
		t.Errorf("after Close %v, opened %d times, closed %d times", log.entries, log.opened, log.closed)
	}
}

// TestReplicaDiffsOff: a topic without diffs has the presences of other nodes in its state; a function that panics counts as no.
func TestReplicaDiffsOff(t *testing.T) {
	n := newNode()
	var failed error
	tr := newTracker(t, n, Options{Diffs: func(topic string) bool {
		if topic == "rude" {
			panic("in Diffs")
		}
		return topic == "on"
	}, OnError: func(_ string, err error) { failed = err }})
	replica := tr.NewReplica()
	replica.Up()
	for i, topic := range []string{"on", "off", "rude"} {
		replica.Join(topic, "ann", fmt.Sprintf(`{"phx_ref":"%016d"}`, i))
		if tr.Count(topic) != 1 {
			t.Errorf("nobody in %s", topic)
		}
	}
	wantDiffs(t, n, `{"joins":{"ann":{"metas":[{"phx_ref":"0000000000000000"}]}},"leaves":{}}`)
	if failed == nil || !strings.Contains(failed.Error(), "in Diffs") {
		t.Errorf("reported: %v", failed)
	}
	replica.Gone()
	checkEmpty(t, tr)
}

// TestReplicaMalformed: what no tracker has made changes nothing.
func TestReplicaMalformed(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	replica := tr.NewReplica()
	replica.Up()
	ok := `{"phx_ref":"0123456789012345"`
	for _, meta := range []string{
		"", "{}", `{"phx_ref":"012345678901234"}`, ok, ok + `,"phx_ref_prev":"0123"}`, ok + `,"phx_ref_prev":"01234567890123456"}`,
	} {
		replica.Join("room:1", "ann", meta)
		roster := &Roster{}
		roster.Join("room:1", "ann", meta)
		if !roster.Empty() {
			t.Errorf("a roster takes %q", meta)
		}
	}
	replica.Join("room:1", "\xff", ok+"}")
	replica.Leave("room:1", "ann", "")
	replica.Leave("room:2", "ann", "0123456789012345")
	wantDiffs(t, n)
	checkEmpty(t, tr)
}
