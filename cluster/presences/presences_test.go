package presences

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/hubtest"
	"github.com/mycelium-rt/mycelium/internal/race"
	"github.com/mycelium-rt/mycelium/internal/records"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a node with a tracker, and counts what its clients are told.
type server struct {
	port    *hubtest.Port[cluster.LogID]
	node    *cluster.Node
	kind    *Kind
	tracker *presence.Tracker

	mu            sync.Mutex
	joins, leaves int // guarded by mu
	largest       int // diff, guarded by mu
}

func (s *server) BroadcastLocal(_, _ string, payload any) error {
	diff, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	before, after, _ := strings.Cut(string(diff), `"leaves":`)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joins += strings.Count(before, `"phx_ref":`)
	s.leaves += strings.Count(after, `"phx_ref":`)
	s.largest = max(s.largest, len(diff))
	return nil
}

func startServer(t testing.TB, h *hubtest.Hub[cluster.LogID], name string) *server {
	t.Helper()
	s := &server{kind: New(), port: h.Port()}
	node, err := cluster.Start(s.port, cluster.SystemClock(), cluster.Options{Name: name, Kinds: s.kind.Types()})
	if err != nil {
		t.Fatal(err)
	}
	s.node = node
	s.kind.Start(node)
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) open(t testing.TB, space string) {
	s.tracker = presence.New(s, presence.Options{Replicator: s.kind.Space(space)})
	t.Cleanup(s.tracker.Close)
}

// guest is a channel.
type guest struct {
	topic string
	end   func()
}

func (g *guest) Topic() string          { return g.topic }
func (g *guest) Push(string, any) error { return nil }
func (g *guest) OnEnd(f func())         { g.end = f }

func (s *server) track(t testing.TB, topic, key string) *guest {
	t.Helper()
	g := &guest{topic: topic}
	if _, err := s.tracker.Track(g, key, json.RawMessage(`{"online_at":1700000000}`)); err != nil {
		t.Fatal(err)
	}
	return g
}

var wait = waittest.For

func (s *server) list(topic string) string {
	return strings.Join(slices.Sorted(maps.Keys(s.tracker.List(topic))), " ")
}

// TestSpaces: nodes have each other's presences, of the same space only, whether the tracker or the presence came first.
func TestSpaces(t *testing.T) {
	h := hubtest.New[cluster.LogID]()
	a, b, other := startServer(t, h, "a"), startServer(t, h, "b"), startServer(t, h, "c")
	a.open(t, "chat")
	other.open(t, "game")
	ann := a.track(t, "room:1", "ann")
	other.track(t, "room:1", "eve")
	wait(t, "b knows both", func() bool {
		b.kind.mu.Lock()
		defer b.kind.mu.Unlock()
		spaces := 0
		for _, p := range b.kind.peers {
			if p.up {
				spaces += len(p.spaces)
			}
		}
		return spaces == 2
	})
	b.open(t, "chat")
	if got := b.list("room:1"); got != "ann" {
		t.Errorf("b opens with %q", got)
	}
	b.track(t, "room:1", "bob")
	wait(t, "a has both", func() bool { return a.list("room:1") == "ann bob" })
	// The end of a tracker: its presences leave, and the next one has those of peers again.
	b.tracker.Close()
	wait(t, "bob has left", func() bool { return a.list("room:1") == "ann" })
	b.open(t, "chat")
	if got := b.list("room:1"); got != "ann" {
		t.Errorf("b opens again with %q", got)
	}
	ann.end()
	wait(t, "nobody is left", func() bool { return b.list("room:1") == "" })
	if got := other.list("room:1"); got != "eve" {
		t.Errorf("the other space has %q", got)
	}
	if n := a.kind.Malformed() + b.kind.Malformed() + other.kind.Malformed(); n > 0 {
		t.Errorf("%d malformed", n)
	}
}

// TestBeforeStart: a tracker comes behind Start.
func TestBeforeStart(t *testing.T) {
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, errNotStarted) {
			t.Errorf("before Start: %v", err)
		}
	}()
	presence.New(&server{}, presence.Options{Replicator: New().Space("chat")})
}

// TestNextTracker: a tracker that is made before the last one of its space is closed takes
// its place then, unless it is closed first.
func TestNextTracker(t *testing.T) {
	h := hubtest.New[cluster.LogID]()
	a, b := startServer(t, h, "a"), startServer(t, h, "b")
	a.open(t, "chat")
	b.open(t, "chat")
	ada := a.track(t, "room:1", "ada")
	wait(t, "b has ada", func() bool { return b.list("room:1") == "ada" })
	first, made := b.tracker, [3]*presence.Tracker{}
	for i := range made {
		b.open(t, "chat")
		made[i] = b.tracker
	}
	if got := b.list("room:1"); got != "" {
		t.Errorf("a tracker that waits has %q", got)
	}
	made[0].Close()
	a.track(t, "room:1", "eve")
	wait(t, "the first has eve", func() bool { return len(first.List("room:1")) == 2 })
	first.Close()
	b.tracker = made[1]
	if got := b.list("room:1"); got != "ada eve" {
		t.Errorf("the next has %q", got)
	}
	b.track(t, "room:1", "bob")
	wait(t, "a has bob", func() bool { return a.list("room:1") == "ada bob eve" })
	ada.end()
	wait(t, "the next has no ada", func() bool { return b.list("room:1") == "bob eve" })
	made[1].Close()
	b.tracker = made[2]
	if got := b.list("room:1"); got != "eve" {
		t.Errorf("the one after it has %q", got)
	}
	made[2].Close()
	if len(b.kind.trackers)+len(b.kind.next) > 0 {
		t.Errorf("%v, %v are left", b.kind.trackers, b.kind.next)
	}
}

// TestDistinct: nodes with the same number in their phx_refs are noticed.
func TestDistinct(t *testing.T) {
	h := hubtest.New[cluster.LogID]()
	var nodes []*cluster.Node
	for i, id := range []cluster.LogID{0x1234_000000000001, 0x1234_000000000002, 0x4321_000000000001} {
		n, err := cluster.Start(h.Port(), cluster.SystemClock(), cluster.Options{Name: fmt.Sprint(i), ID: id})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		nodes = append(nodes, n)
	}
	for i, want := range []bool{false, false, true} {
		wait(t, "the nodes know each other", func() bool { return len(nodes[i].Stats().Peers) == 2 })
		if Distinct(nodes[i]) != want {
			t.Errorf("node %d: %t", i, !want)
		}
	}
}

// TestParts: a snapshot reads the same wherever it is cut, and what is cut off is noticed.
func TestParts(t *testing.T) {
	want := []string{"a/1/ann", "a/1/bob", "a/2/ann", "b/2/" + strings.Repeat("x", 300)}
	for size := 1; size < 100; size += 7 {
		var parts [][]byte
		w := newListWriter(size, func(part []byte) { parts = append(parts, part) })
		last := ""
		for i, name := range want {
			f := strings.Split(name, "/")
			if f[0] != last {
				w.space(f[0])
				last = f[0]
			}
			w.presence(f[1], f[2], fmt.Sprintf(`{"phx_ref":"%016d"}`, i))
		}
		w.Record(99, []byte("of a later version"))
		w.Flush()
		read := func(parts [][]byte) (got []string, err error) {
			all, err := readParts(slices.Values(parts))
			for space, roster := range all {
				tracker := presence.New(&server{}, presence.Options{})
				replica := tracker.NewReplica()
				replica.Replace(roster)
				replica.Up()
				for _, topic := range []string{"1", "2"} {
					for key := range tracker.List(topic) {
						got = append(got, space+"/"+topic+"/"+key)
					}
				}
				tracker.Close()
			}
			slices.Sort(got)
			return got, err
		}
		if got, err := read(parts); err != nil || !slices.Equal(got, want) {
			t.Errorf("parts of %d: %v, %v", size, got, err)
		}
		if _, err := read(parts[:len(parts)-1]); err == nil && size < 15 {
			t.Errorf("parts of %d: the last one is not missed", size)
		}
		for _, part := range parts {
			if len(part) > size {
				t.Errorf("a part of %d, not %d", len(part), size)
			}
		}
	}
}

// FuzzEntry: nothing that a peer sends ends the node.
func FuzzEntry(f *testing.F) {
	f.Add(cluster.TypeJoin, append(records.AppendText(records.AppendText(records.AppendText(nil, "s"), "t"), "k"), `{"phx_ref":"0123456789012345"}`...))
	f.Add(cluster.TypeLeave, append(records.AppendText(records.AppendText(records.AppendText(nil, "s"), "t"), "k"), `0123456789012345`...))
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		k := New()
		tracker := presence.New(&server{}, presence.Options{})
		defer tracker.Close()
		k.trackers["s"] = tracker
		p := &cluster.Peer{}
		n := (*nodeKind)(k)
		n.Up(p)
		n.Apply(p, typ, body)
		n.Restore(p, one(body), func(yield func(byte, []byte) bool) { yield(typ, body) })
		n.Down(p)
		n.Gone(p)
		if n := len(tracker.List("t")); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

func one(part []byte) iter.Seq[[]byte] { return slices.Values([][]byte{part}) }

// TestHundredThousand has three nodes track 100,000 presences in two topics at once, which all nodes have in the end, one
// that comes later by snapshots; and then those of a killed node leave. It logs how long that takes.
// It takes some seconds, most of them processor time.
func TestHundredThousand(t *testing.T) {
	size := 100_000
	if race.Enabled || testing.Short() {
		size = 9_999
	}
	h := hubtest.New[cluster.LogID]()
	servers := []*server{startServer(t, h, "a"), startServer(t, h, "b"), startServer(t, h, "c")}
	for _, s := range servers {
		s.open(t, "chat")
	}
	began := time.Now()
	var storm sync.WaitGroup
	for n, s := range servers {
		storm.Go(func() {
			for i := n; i < size; i += len(servers) {
				s.track(t, fmt.Sprint("room:", i%2), fmt.Sprint("user:", i))
			}
		})
	}
	storm.Wait()
	ended := time.Now()
	for _, s := range servers {
		wait(t, "everybody is everywhere", func() bool { return s.keys() == size })
	}
	t.Logf("%d tracked in %v, equal %v later", size, ended.Sub(began), time.Since(ended))

	began = time.Now()
	late := startServer(t, h, "late")
	late.open(t, "chat")
	wait(t, "the late one has everybody", func() bool { return late.keys() == size })
	t.Logf("a node that comes later has them after %v", time.Since(began))

	began = time.Now()
	left := size - servers[2].own()
	servers[2].port.SetMute(true)
	for _, s := range []*server{servers[0], servers[1], late} {
		wait(t, "those of the killed node are gone", func() bool { return s.keys() == left })
		s.mu.Lock()
		if s.largest > 256<<10 || s.joins-s.leaves != left {
			t.Errorf("diffs of up to %d bytes, %d joins, %d leaves, %d present", s.largest, s.joins, s.leaves, left)
		}
		s.mu.Unlock()
	}
	t.Logf("those of a killed node were gone after %v", time.Since(began))
}

func (s *server) keys() int { return s.tracker.Count("room:0") + s.tracker.Count("room:1") }

func (s *server) own() (n int) {
	s.tracker.Own(func(string, string, string) { n++ })
	return n
}

// TestSnapshotOfNextTracker: a snapshot has the presences of a tracker that waits until the one
// before it is closed: they have been told to peers too.
func TestSnapshotOfNextTracker(t *testing.T) {
	a := startServer(t, hubtest.New[cluster.LogID](), "a")
	for _, key := range []string{"ann", "bob"} {
		a.open(t, "chat")
		a.track(t, "room:1", key)
	}
	var parts [][]byte
	a.kind.snapshot(1000, func(part []byte) { parts = append(parts, part) })
	rosters, err := readParts(slices.Values(parts))
	if err != nil {
		t.Fatal(err)
	}
	tracker := presence.New(a, presence.Options{})
	t.Cleanup(tracker.Close)
	replica := tracker.NewReplica()
	replica.Replace(rosters.of("chat"))
	replica.Up()
	if got := strings.Join(slices.Sorted(maps.Keys(tracker.List("room:1"))), " "); got != "ann bob" {
		t.Errorf("the snapshot has %q", got)
	}
}
