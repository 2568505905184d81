package instances_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/pubsub"
)

var runs = flag.Int("runs", 10, "how many random `runs` TestTakeovers makes")

// ledger is what the tallies of all nodes were told is saved. A tally is identified by its
// label "made", which no other has, not even a later one with the same id.
type ledger struct {
	t     *testing.T
	mu    sync.Mutex
	acked map[string]int
	saves int
}

// tally is logic that counts, and saves its count.
type tally struct {
	in   *instances.Instance
	l    *ledger
	made string

	turn chan struct{} // has a token while the next number is saved
	n    int           // guarded by turn
}

func (s *tally) Channels() []*channels.Channel { return nil }

func (s *tally) Start(ctx context.Context) error {
	text, err := s.in.Load(ctx, "n")
	if err != nil && !errors.Is(err, instances.ErrNoState) {
		return err
	}
	made, n, ok := strings.Cut(string(text), ":")
	if ok && made != s.made {
		s.l.t.Errorf("%s begins with the state of %s", s.made, made)
	}
	s.n, _ = strconv.Atoi(n)
	s.l.mu.Lock()
	if s.n < s.l.acked[s.made] {
		s.l.t.Errorf("%s goes on at %d, but %d was acknowledged", s.made, s.n, s.l.acked[s.made])
	}
	s.l.mu.Unlock()
	s.in.Go("counting", func(ctx context.Context) error {
		for ctx.Err() == nil {
			s.save(ctx) // it tries again
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return nil
	})
	return nil
}

func (s *tally) Stop(ctx context.Context) error {
	if s.in.Context().Err() == nil {
		s.l.t.Error("Stop before the end")
	}
	return s.save(ctx)
}

// save saves the next number.
func (s *tally) save(ctx context.Context) error {
	s.turn <- struct{}{} // the last one is saved by Stop
	defer func() { <-s.turn }()
	s.n++ // even if it is not known whether the last one was saved
	err := s.in.Save(ctx, "n", fmt.Append(nil, s.made, ":", s.n))
	if err != nil {
		return err
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.n <= s.l.acked[s.made] {
		s.l.t.Errorf("%s: %d is saved, but %d was acknowledged before", s.made, s.n, s.l.acked[s.made])
	}
	s.l.acked[s.made] = s.n
	s.l.saves++
	return nil
}

// TestTakeovers has nodes create, change and delete instances at random while they are
// cut off, closed and started. No acknowledged state is lost, no two owners' saves both
// count, and in the end all nodes agree, and the store has nothing else.
func TestTakeovers(t *testing.T) {
	for i := range *runs {
		synctest.Test(t, func(t *testing.T) { takeOver(t, rand.New(rand.NewPCG(uint64(i), 2))) })
	}
}

func takeOver(t *testing.T, r *rand.Rand) {
	l := &ledger{t: t, acked: make(map[string]int)}
	c := &cluster{t: t, hub: pubsub.NewHub(), nodes: make(map[string]*node)}
	c.register = func(m *instances.Manager) {
		m.Register(instances.Define("tally", "Counts and saves.", func(in *instances.Instance, _ struct{}) (instances.Logic, error) {
			return &tally{in: in, l: l, made: in.Labels()["made"], turn: make(chan struct{}, 1)}, nil
		}))
	}
	defer c.close()
	names, ids := []string{"a", "b", "c", "d"}, []string{"one", "two", "three"}
	for _, name := range names[:2+r.IntN(3)] {
		c.start(name)
	}
	var asked sync.WaitGroup
	for step := range 40 {
		time.Sleep(time.Duration(r.IntN(4_000)) * time.Millisecond)
		n, id := c.nodes[names[r.IntN(len(names))]], ids[r.IntN(len(ids))]
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(20_000))*time.Millisecond)
		do := func(f func()) { asked.Go(func() { defer cancel(); f() }) }
		switch what := r.IntN(12); {
		case n == nil:
			cancel()
			c.start(names[slices.IndexFunc(names, func(name string) bool { return c.nodes[name] == nil })])
		case what < 4:
			spec := instances.Spec{ID: id, Type: "tally", Labels: map[string]string{"made": fmt.Sprint("step ", step)}}
			if what == 0 {
				spec.Type = "spread"
			}
			do(func() { n.Create(ctx, spec) })
		case what < 6:
			do(func() { n.Delete(ctx, id, instances.AnyRevision) })
		case what == 6:
			do(func() { n.Drain(ctx, id) })
		case what == 7:
			do(func() { n.Resume(ctx, id) })
		case what == 8:
			do(func() {
				n.Update(ctx, id, instances.AnyRevision, func(s *instances.Spec) error { s.IdleTTL += 3600e9; return nil })
			})
		case what == 9 && len(c.nodes) > 1:
			delete(c.nodes, n.name)
			do(func() { n.Close(ctx) })
		default:
			cancel()
			n.link.SetCut(!n.link.IsCut())
		}
	}
	for _, n := range c.nodes {
		n.link.SetCut(false)
	}
	asked.Wait()
	c.await("all nodes agree", 3*time.Minute, c.agree)
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d saves of %d instances, %v", l.saves, len(l.acked), slices.Sorted(maps.Keys(c.nodes)))
}

// agree reports whether all nodes know the same instances in states that stay, each with
// one owner, and the store has the keys of no others.
func (c *cluster) agree() bool {
	var first []instances.Info
	for _, n := range c.nodes {
		list, _ := n.List(instances.Filter{})
		if first == nil {
			first = list
		}
		if len(list) != len(first) {
			return false
		}
		for i, one := range list {
			same := first[i]
			if one.ID != same.ID || one.Revision != same.Revision || one.State != same.State || one.Node != same.Node || one.Type == "tally" && !one.Started.Equal(same.Started) {
				return false
			}
			if one.State != instances.Running && one.State != instances.Stopped || one.State == instances.Running && one.Type == "tally" && one.Node == "" {
				return false
			}
		}
	}
	known := map[string]bool{}
	for _, i := range first {
		known[i.ID] = true
	}
	entries, _ := c.store.List(c.t.Context(), "")
	return !slices.ContainsFunc(entries, func(e instances.Entry) bool {
		prefix, id, _ := strings.Cut(e.Key, ".")
		id, _, _ = strings.Cut(id, ".")
		return prefix != "node" && !known[id]
	})
}
