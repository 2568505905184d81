package membership

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a node that says what a test says.
type fake struct {
	mu    sync.Mutex
	stats cluster.Stats
	at    time.Time // when that was set
	link  Link
}

func (f *fake) Stats() cluster.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := f.stats
	stats.Peers = slices.Clone(stats.Peers)
	for i := range stats.Peers {
		stats.Peers[i].Told = time.Since(f.at)
	}
	return stats
}

func (f *fake) set(link bool, busy uint64, peers ...cluster.PeerInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link.Connected, f.stats.Busy, f.stats.Peers, f.at = link, busy, peers, time.Now()
}

func (f *fake) watch(size int, log *bytes.Buffer) *Watcher {
	logger := zerolog.New(log)
	return Watch(f, Options{Name: "a", Cluster: "test", Size: size, Logger: &logger, Link: func() Link {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.link
	}})
}

var (
	up      = cluster.PeerInfo{Log: 2, Name: "b", Up: true, Info: Facts{Version: "v1", Sockets: 7}.Encode()}
	syncing = cluster.PeerInfo{Log: 3, Name: "c", Behind: 9}
)

// TestReady: a node waits for the others, but not for nodes that do not exist.
func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		size   int
		peers  []cluster.PeerInfo
		least  time.Duration // before that it is not ready
		within time.Duration // then it is
	}{
		"alone":                             {0, nil, AloneAfter - time.Second, AloneAfter + time.Second},
		"alone by its size":                 {1, nil, 0, 0},
		"one of unknown":                    {0, []cluster.PeerInfo{up}, 0, 0},
		"one of two":                        {2, []cluster.PeerInfo{up}, 0, 0},
		"one of three":                      {3, []cluster.PeerInfo{up}, AloneAfter - time.Second, AloneAfter + time.Second},
		"another that has to come":          {0, []cluster.PeerInfo{up, syncing}, syncWithin - time.Second, syncWithin + time.Second},
		"one that has left does not count":  {0, []cluster.PeerInfo{{Log: 4, Name: "d", Left: true}}, AloneAfter - time.Second, AloneAfter + time.Second},
		"one that is silent does not count": {0, []cluster.PeerInfo{{Log: 4, Name: "d", Silent: cluster.DownAfter}}, AloneAfter - time.Second, AloneAfter + time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			f.set(true, 0, c.peers...)
			w := f.watch(c.size, new(bytes.Buffer))
			defer w.Close()
			if c.least > 0 {
				time.Sleep(c.least)
				if err := w.Ready(); !errors.Is(err, ErrJoining) {
					t.Errorf("%s: after %s: %v, want ErrJoining", name, c.least, err)
				}
				time.Sleep(c.within - c.least)
			}
			if err := w.Ready(); err != nil {
				t.Errorf("%s: after %s: %v", name, c.within, err)
			}
			f.set(false, 0)
			time.Sleep(time.Minute)
			if err := w.Ready(); err != nil {
				t.Errorf("%s: no longer ready: %v", name, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(true, 0, up, syncing)
		w := f.watch(0, new(bytes.Buffer))
		defer w.Close()
		time.Sleep(AloneAfter + time.Second)
		f.set(true, 0, up)
		time.Sleep(time.Second)
		if err := w.Ready(); err != nil {
			t.Errorf("a node that is up to date: %v", err)
		}
	})
}

// TestTold: who comes and goes is logged, once, and seen.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := &fake{}, new(bytes.Buffer)
		w := f.watch(1, log)
		step := func(link bool, busy uint64, want string, peers ...cluster.PeerInfo) {
			t.Helper()
			synctest.Wait()
			log.Reset()
			f.set(link, busy, peers...)
			time.Sleep(3 * lookEvery)
			synctest.Wait()
			if got := strings.Count(log.String(), "\n"); !strings.Contains(log.String(), want) || want == "" && got > 0 || got > 1 {
				t.Errorf("logged %d lines, want one with %q:\n%s", got, want, log)
			}
		}
		step(true, 0, "NATS is reached again")
		step(true, 0, "node is up", up)
		if v := w.View(); len(v.Peers) != 1 || v.Peers[0].State != Up || v.Peers[0].Facts != (Facts{Version: "v1", Sockets: 7}) || v.Name != "a" || v.Cluster != "test" {
			t.Errorf("%+v", v)
		}
		step(false, 0, "NATS cannot be reached", up)
		step(true, 0, "NATS is reached again", up)
		step(true, 5, `"broadcasts":5`, up)
		silent := up
		silent.Up, silent.Silent = false, cluster.DownAfter
		step(true, 5, "node is silent", silent)
		left := up
		left.Up, left.Left = false, true
		step(true, 5, "node has left", left)
		strange := cluster.PeerInfo{Log: 9, Name: "x", Incompatible: true, Info: []byte("not JSON")}
		step(true, 5, "cannot read", left, strange)
		lossy := up
		lossy.Lost = 3
		step(true, 5, "node is up", up)
		step(true, 5, `"messages":3`, lossy)
		step(true, 5, "", syncing)
		w.Close()
	})
}

// TestClock: a clock that differs is reported once, even if heartbeats are late.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := &fake{}, new(bytes.Buffer)
		w := f.watch(1, log)
		defer w.Close()
		step := func(ahead, late, want time.Duration) {
			t.Helper()
			b := up
			b.Info = Facts{Time: time.Now().Add(ahead).UnixMilli()}.Encode()
			time.Sleep(late)
			f.set(true, 0, b)
			time.Sleep(lookEvery)
			synctest.Wait()
			if got := w.View().Peers[0].Ahead; got != want {
				t.Errorf("%s ahead, want %s", got, want)
			}
		}
		step(0, 100*time.Millisecond, -100*time.Millisecond)
		step(0, 0, 0)
		for range heartbeats - 1 {
			step(0, 500*time.Millisecond, 0) // the best of the last ones counts
		}
		step(0, 500*time.Millisecond, -500*time.Millisecond)
		for range heartbeats {
			step(5*time.Second, 0, 5*time.Second)
		}
		w.log.Flush()
		if got := strings.Count(log.String(), "the clock of a node differs"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, log)
		}
	})
}

// TestStore: a node waits for the store, says why, and is ready all the same if that does
// not come.
func TestStore(t *testing.T) {
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f, log := &fake{}, new(bytes.Buffer)
			f.set(true, 0, up)
			var state atomic.Pointer[Store]
			state.Store(&Store{Trouble: "no leader"})
			logger := zerolog.New(log)
			w := Watch(f, Options{Logger: &logger, Link: func() Link { return Link{Connected: true} }, Store: func() Store { return *state.Load() }})
			defer w.Close()
			time.Sleep(10 * time.Second)
			if err := w.Ready(); err == nil || err.Error() != "joining the cluster: waiting for the store of instances: no leader" {
				t.Errorf("%v", err)
			}
			if comes {
				state.Store(&Store{Behind: "a stream"})
				time.Sleep(time.Second)
				if err := w.Ready(); err == nil || !strings.HasSuffix(err.Error(), ": a stream") {
					t.Errorf("%v", err)
				}
				state.Store(new(Store))
				time.Sleep(time.Second)
			} else {
				time.Sleep(syncWithin)
			}
			if err := w.Ready(); err != nil {
				t.Error(err)
			}
			state.Store(&Store{Trouble: "gone"})
			time.Sleep(3 * time.Second)
			state.Store(new(Store))
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if err := w.Ready(); err != nil {
				t.Error(err)
			}
			lost, found := strings.Count(log.String(), `"reason":"gone"`), strings.Count(log.String(), "the store of instances is reached")
			if comes && lost != 1 || found < 1 {
				t.Errorf("lost %d times, found %d times:\n%s", lost, found, log)
			}
		})
	}
}

// TestDraining counts the nodes that drain and can be heard.
func TestDraining(t *testing.T) {
	drains := Facts{Draining: true}.Encode()
	peers := []cluster.PeerInfo{
		up, {Info: drains, Up: true}, {Info: drains}, {Info: drains, Left: true}, {Info: drains, Silent: cluster.DownAfter}, {Info: []byte("?")},
	}
	if n := Draining(peers); n != 2 {
		t.Errorf("%d nodes drain, want 2", n)
	}
}

// TestRates: a view has since when each node is in its state, and how much comes from it.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{}, up
		b.Applied = 1000
		f.stats.Sent = 500
		f.set(true, 0, b)
		w := f.watch(2, new(bytes.Buffer))
		defer w.Close()
		began := time.Now()
		time.Sleep(joinEvery) // then it is asked every second
		synctest.Wait()
		step := func(sent, applied uint64, silent time.Duration) {
			f.mu.Lock()
			f.stats.Sent = sent
			f.mu.Unlock()
			b.Applied, b.Silent, b.Up = applied, silent, silent == 0
			f.set(true, 0, b)
			time.Sleep(lookEvery)
			synctest.Wait()
		}
		check := func(what string, own, rate float64, since time.Time) {
			t.Helper()
			if v := w.View(); v.Rate != own || v.Peers[0].Rate != rate || !v.Peers[0].Since.Equal(since) || !v.Started.Equal(began) {
				t.Errorf("%s: %v of its own, %v of b since %s; want %v, %v, %s", what, v.Rate, v.Peers[0].Rate, v.Peers[0].Since, own, rate, since)
			}
		}
		check("at first", 0, 0, began)
		step(520, 1030, 0)
		check("traffic", 20, 30, began)
		step(520, 1030, 0)
		check("none", 0, 0, began)
		step(521, 1030, cluster.DownAfter)
		silent := w.View().At
		check("silent", 1, 0, silent)
		step(521, 1030, cluster.DownAfter+time.Second)
		check("still silent", 0, 0, silent)
		step(521, 5000, 0)
		check("up again, with what was missed", 0, 0, w.View().At)
		step(521, 5002, 0)
		check("traffic again", 0, 2, w.View().At.Add(-lookEvery))
	})
}
