package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/outbox"
)

// crash returns a copy of a server's directory: what the next process would find if the
// server were killed now.
func crash(t testing.TB, dir string) (copied string) {
	copied = t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// world is what a back end knows from the events that it was sent.
type world struct {
	clients   map[string]bool
	joined    map[string]bool // client and topic
	occupied  map[string]bool
	presences map[string]int // topic and key
	published []string
	wrong     []string
}

func (w *world) apply(list []told) {
	if w.clients == nil {
		*w = world{clients: map[string]bool{}, joined: map[string]bool{}, occupied: map[string]bool{}, presences: map[string]int{}}
	}
	turn := func(m map[string]bool, key string, on bool, e told) {
		if m[key] == on {
			w.wrong = append(w.wrong, fmt.Sprintf("%s of %s twice (%s)", e, key, e.ID))
		}
		if on {
			m[key] = true
		} else {
			delete(m, key)
		}
	}
	for _, e := range list {
		switch e.Type {
		case "connected", "disconnected":
			turn(w.clients, e.Client, e.Type == "connected", e)
		case "joined", "left":
			turn(w.joined, e.Client+" "+e.Topic, e.Type == "joined", e)
		case "occupied", "vacated":
			turn(w.occupied, e.Topic, e.Type == "occupied", e)
		case "presence":
			key := e.Topic + " " + e.Key
			w.presences[key] += map[string]int{"join": 1, "leave": -1}[e.Change]
			if w.presences[key] == 0 {
				delete(w.presences, key)
			}
		case "published":
			w.published = append(w.published, string(e.Payload))
		}
	}
}

// TestCrash: everything that was answered before a server is killed is sent by the next
// one, followed by the ends of all connections, even if the next one is killed too before
// it has sent anything.
func TestCrash(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			b := new(backend)
			hook := hookOf(t, "app", b, nil, nil)
			s := startServer(t, dir, hook)
			if seed%2 == 0 { // in the other rounds, nearly everything is sent before the crash
				b.failWith(func([]told) error { return errors.New("away") })
			}
			clients := map[int]*channelstest.Client{}
			rooms := map[string]*channelstest.Channel{}
			var published []string
			for i := range 400 {
				who := random.IntN(8)
				topic := fmt.Sprint("room:", random.IntN(4))
				at := fmt.Sprint(who, " ", topic)
				switch client, room := clients[who], rooms[at]; {
				case client == nil:
					clients[who] = s.connect(fmt.Sprint("user", who%5))
				case random.IntN(20) == 0:
					client.Close()
					delete(clients, who)
					maps.DeleteFunc(rooms, func(at string, _ *channelstest.Channel) bool { return strings.HasPrefix(at, fmt.Sprint(who, " ")) })
				case room == nil:
					rooms[at] = client.Join(topic, nil)
				case random.IntN(4) == 0:
					room.Leave()
					delete(rooms, at)
				default:
					payload := fmt.Sprintf(`{"n":%d}`, i)
					room.Push("msg", json.RawMessage(payload)).AssertReply("ok", nil)
					published = append(published, payload)
				}
				if random.IntN(50) == 0 {
					time.Sleep(2 * time.Second) // a snapshot
				}
			}
			copied := crash(t, dir)
			synctest.Wait()
			w := new(world)
			before := b.take()
			w.apply(before)
			s.stop()
			if snapshots, err := filepath.Glob(filepath.Join(copied, "*", "snapshot")); err != nil || len(snapshots) != 1 {
				t.Errorf("seed %d: there was no snapshot", seed)
			}

			b.take()
			b.failWith(func([]told) error { return errors.New("away") })
			second := startServer(t, copied, hook)
			again := crash(t, copied) // at once
			second.stop()

			b.failWith(nil)
			third := startServer(t, again, hook)
			time.Sleep(time.Minute)
			synctest.Wait()
			after := b.take()
			third.stop()
			seen := map[string]bool{}
			for _, e := range before {
				seen[e.ID] = true
			}
			after = slices.DeleteFunc(after, func(e told) bool { return seen[e.ID] }) // sent twice, because the crash came just after
			w.apply(after)
			if len(w.wrong) > 0 || len(w.clients)+len(w.joined)+len(w.occupied)+len(w.presences) > 0 {
				t.Errorf("seed %d: wrong: %q; left: %v %v %v %v", seed, w.wrong, w.clients, w.joined, w.occupied, w.presences)
			}
			if !slices.Equal(w.published, published) {
				t.Errorf("seed %d: %d messages were told, %d answered", seed, len(w.published), len(published))
			}
		})
	}
}

// TestFull: while a back end is away for too long, the oldest events are dropped; Lost
// events report how many, and the numbers add up.
func TestFull(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			b := new(backend)
			s := startServer(t, dir, hookOf(t, "app", b, []string{"published"}, []string{"room:1"}), hookOf(t, "other", new(backend), nil, nil))
			b.failWith(func([]told) error { return errors.New("away") })
			payload := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 50_000))
			const messages = 450 // 23 MB, of which 16 MiB fit
			for i := range messages {
				for _, topic := range []string{"room:1", "room:2"} {
					if topic == "room:2" && i%10 != 0 {
						continue
					}
					if err := s.manager.Broadcast("r", topic, "m", payload); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait() // for the keeper
			}
			st := s.events.StatsOf("r")
			if st.Bytes > 17<<20 || st.Missed != 0 || st.Hooks[0].Lost == 0 {
				t.Errorf("%+v", st)
			}
			b.failWith(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			lost, got := uint64(0), 0
			for _, e := range b.take() {
				if e.Type == "lost" {
					lost += e.Count
				} else {
					got++
				}
			}
			if int(lost)+got != messages || s.events.StatsOf("r").Hooks[0].Lost < lost {
				t.Errorf("%d lost and %d told of %d", lost, got, messages)
			}
			s.stop()
		})
	}
}

// TestHookWhileFollowed: what a hook is sent survives a crash, even if somebody followed the
// instance when it got the hook. The follower is sent what had happened, and then the end
// of its stream.
func TestHookWhileFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := startServer(t, dir)
		defer s.stop()
		all, err := events.Select(nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.manager.Life("r")
		if err != nil {
			t.Fatal(err)
		}
		follow := func(after string) *events.Follower {
			t.Helper()
			f, err := s.events.Follow(in, all, after)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		publish := func(n string) {
			t.Helper()
			if err := s.manager.Broadcast("r", "room:1", "m", fmt.Appendf(nil, `{"n":%s}`, n)); err != nil {
				t.Fatal(err)
			}
		}
		f := follow("")
		defer f.Close()
		publish("1")
		b := new(backend)
		b.failWith(func([]told) error { return errors.New("away") })
		s.hooks = []events.Hook{hookOf(t, "app", b, []string{"published"}, nil)}
		if err := s.events.Begin(in, instances.Spec{ID: "r"}); err != nil {
			t.Fatal(err)
		}
		publish("2")
		list, err := f.Next(t.Context())
		if err != nil || len(list) != 1 || !strings.Contains(string(list[0].JSON), `{"n":1}`) {
			t.Fatalf("followed %v, %v", list, err)
		}
		if list, err := f.Next(t.Context()); !errors.Is(err, outbox.ErrClosed) {
			t.Errorf("followed %v, %v after the stream was replaced", list, err)
		}
		again := follow(list[0].ID)
		defer again.Close()
		if list, err := again.Next(t.Context()); err != nil || len(list) != 1 || !strings.Contains(string(list[0].JSON), `{"n":2}`) {
			t.Errorf("followed %v, %v after it came back", list, err)
		}
		after := new(backend)
		next := startServer(t, crash(t, dir), hookOf(t, "app", after, []string{"published"}, nil))
		defer next.stop()
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, after.take(), `published room:1 m {"n":2}`)
	})
}

// TestHookDuringPublish: followers miss nothing between the stream that they have followed and
// the one that takes its place.
func TestHookDuringPublish(t *testing.T) {
	s := startServer(t, t.TempDir())
	defer s.stop()
	published, err := events.Select([]string{"published"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.manager.Life("r")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	// read follows after an event until the stream ends or the number last has come, and
	// returns the last id.
	read := func(f *events.Follower, last int) (id string) {
		defer f.Close()
		for len(numbers) == 0 || numbers[len(numbers)-1] != last {
			list, err := f.Next(t.Context())
			if errors.Is(err, outbox.ErrClosed) {
				return id
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				var body struct{ Payload struct{ N int } }
				if err := json.Unmarshal(e.JSON, &body); err != nil {
					t.Fatal(err)
				}
				numbers, id = append(numbers, body.Payload.N), e.ID
			}
		}
		return id
	}
	follow := func(after string) *events.Follower {
		f, err := s.events.Follow(in, published, after)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := follow("")
	var stop atomic.Bool
	begun, last := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		for ; !stop.Load() || n < 1000; n++ {
			if err := s.manager.Broadcast("r", "room:1", "m", fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
				t.Error(err)
			}
			if n == 10 {
				close(begun)
			}
		}
		last <- n - 1
	}()
	<-begun
	b := new(backend)
	for i := range 20 { // opening them takes a while
		s.hooks = append(s.hooks, hookOf(t, fmt.Sprint("app", i), b, []string{"published"}, nil))
	}
	if err := s.events.Begin(in, instances.Spec{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	stop.Store(true)
	end := <-last
	read(follow(read(f, -1)), end)
	for i, n := range numbers {
		if n != i {
			t.Fatalf("%d came, and not %d, of %d", n, i, end+1)
		}
	}
}

// TestHookAgain: an instance that loses its hooks and gets them back while presences are
// tracked does not report their ends.
func TestHookAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(backend)
		hook := hookOf(t, "app", b, nil, nil)
		s := startServer(t, t.TempDir(), hook)
		defer s.stop()
		s.connect("alice").Join("room:1", nil)
		in, err := s.manager.Life("r")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !slices.ContainsFunc(b.take(), func(e told) bool { return e.Type == "presence" }) {
			t.Fatal("no presence was reported")
		}
		for _, s.hooks = range [][]events.Hook{nil, {hook}} {
			if err := s.events.Begin(in, instances.Spec{ID: "r"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, b.take())
	})
}

// TestFollow: a follower is sent what happens from now on, and what it missed if it comes
// back in time.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t, t.TempDir())
		defer s.stop()
		publish := func(topic string) {
			t.Helper()
			if err := s.manager.Broadcast("r", topic, "m", []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		follow := func(after string) *events.Follower {
			t.Helper()
			in, err := s.manager.Life("r")
			if err != nil {
				t.Fatal(err)
			}
			selects, err := events.Select([]string{"published"}, []string{"room:*"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.events.Follow(in, selects, after)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		next := func(f *events.Follower) (kinds []string, last string) {
			t.Helper()
			list, err := f.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				kinds = append(kinds, e.Kind.String()+" "+e.Topic)
				last = e.ID
			}
			return kinds, last
		}
		publish("room:0") // nobody listens
		f := follow("")
		publish("room:1")
		publish("other:1")
		publish("room:2")
		kinds, last := next(f)
		if !slices.Equal(kinds, []string{"published room:1", "published room:2"}) {
			t.Errorf("told %q", kinds)
		}
		f.Close()
		publish("room:3")
		time.Sleep(events.Linger / 2)
		f = follow(last)
		if kinds, last = next(f); !slices.Equal(kinds, []string{"published room:3"}) {
			t.Errorf("after it came back: %q", kinds)
		}
		f.Close()
		time.Sleep(events.Linger + time.Second)
		if st := s.events.Stats(); len(st) != 0 {
			t.Errorf("nobody follows, but there is %+v", st)
		}
		publish("room:4")
		f = follow(last)
		publish("room:5")
		if kinds, _ = next(f); !slices.Equal(kinds, []string{"published room:5"}) {
			t.Errorf("too late: %q", kinds)
		}
		f.Close()
		time.Sleep(events.Linger + time.Second)
	})
}
