package instances_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

// TestKnownEverywhere: what is done to an instance on one node is known on all, and carried
// out by the node that runs it.
func TestKnownEverywhere(t *testing.T) {
	inCluster(t, "a b c", func(t *testing.T, c *cluster) {
		a, b := c.nodes["a"], c.nodes["b"]
		made := a.create(t, instances.Spec{ID: "one", Type: "counter", Labels: map[string]string{"x": "1"}})
		c.awaitEverywhere("one", instances.Running, time.Second)
		owner, other := c.owner("one")
		if made.Node != owner.name {
			t.Errorf("created on %q, but %s runs it", made.Node, owner.name)
		}
		for _, n := range c.nodes {
			if i, _ := n.Get("one"); i.Node != owner.name || i.Revision != made.Revision || !i.Created.Equal(made.Created) || !i.Started.Equal(made.Started) || i.Labels["x"] != "1" {
				t.Errorf("%s knows %+v, want %+v", n.name, i, made)
			}
			assertEvents(t, n, "one", instances.EventCreated, instances.EventStarted)
		}
		client := channelstest.Connect(t, owner.endpoint, "/socket/one").Join("counter", nil)

		// A changed configuration reaches the clients of the node that runs it, without a restart.
		i, err := other.Update(t.Context(), "one", made.Revision, func(s *instances.Spec) error { s.Config = json.RawMessage(`{"step":5}`); return nil })
		if err != nil || i.Revision <= made.Revision || i.State != instances.Running {
			t.Fatalf("update: %+v, %v", i, err)
		}
		client.Push("count", nil).AssertReply("ok", map[string]int64{"n": 5})
		c.await("the revision", time.Second, func() bool {
			is, _ := a.Get("one")
			is2, _ := b.Get("one")
			return is.Revision == i.Revision && is2.Revision == i.Revision
		})
		if _, err := other.Update(t.Context(), "one", made.Revision, func(*instances.Spec) error { return nil }); !errors.As(err, new(*instances.RevisionError)) {
			t.Errorf("an update of an old revision: %v", err)
		}
		for _, n := range c.nodes {
			assertEvents(t, n, "one", instances.EventUpdated)
		}

		if err := other.Drain(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		c.awaitEverywhere("one", instances.Stopped, 5*time.Second)
		c.await("nobody owns it", time.Second, func() bool { return len(c.keysOf("one")) == 2 }) // its record and its status
		c.await("a stopped instance has no owner", time.Second, func() bool { _, err := other.Owner("one"); return errors.Is(err, instances.ErrNotRunning) })
		if i, err := other.Resume(t.Context(), "one"); err != nil || i.State != instances.Running || i.Node == "" {
			t.Fatalf("resume: %+v, %v", i, err)
		}
		c.awaitEverywhere("one", instances.Running, time.Second)
		for _, n := range c.nodes {
			assertEvents(t, n, "one", instances.EventDraining, instances.EventStopped, instances.EventStarted)
		}

		owner, other = c.owner("one")
		if _, err := owner.Signal(t.Context(), "one", "save", nil); err != nil {
			t.Fatal(err)
		}
		if err := other.Delete(t.Context(), "one", instances.AnyRevision); err != nil {
			t.Fatal(err)
		}
		if i, err := other.Get("one"); err == nil && i.State != instances.Draining {
			t.Errorf("a deleted instance is %s", i.State)
		}
		c.awaitGone("one", 5*time.Second)
		c.await("nothing is left", time.Second, func() bool { return len(c.keysOf("one")) == 0 })
		for _, n := range c.nodes {
			assertEvents(t, n, "one", instances.EventDraining, instances.EventDeleted)
		}
		a.create(t, instances.Spec{ID: "one", Type: "counter"})
	})
}

// TestElsewhere: a node that does not run an instance names the one that does.
func TestElsewhere(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "one", Type: "counter"})
		c.awaitEverywhere("one", instances.Running, time.Second)
		owner, other := c.owner("one")
		want := instances.Owner{Node: owner.name, Address: owner.name + ".example"}
		if o, err := other.Owner("one"); err != nil || o != want {
			t.Errorf("owner: %+v, %v", o, err)
		}
		ctx := t.Context()
		for name, err := range map[string]error{
			"signal":     second(other.Signal(ctx, "one", "add", json.RawMessage("1"))),
			"broadcast":  other.Broadcast("one", "counter", "hello", json.RawMessage("{}")),
			"disconnect": other.Disconnect("one", "user:1"),
			"presence":   second(other.Presence("one", "counter")),
			"topics":     second(other.Topics("one", 0)),
			"sockets":    second(other.FindSockets("one", channels.SocketQuery{})),
			"users":      second(other.Users("one", "", 0)),
			"to":         second(other.To("one", channels.Target{User: "ada"})),
			"stats":      second(other.Stats("one")),
		} {
			var elsewhere *instances.ElsewhereError
			if !errors.As(err, &elsewhere) || elsewhere.Owner != want || elsewhere.ID != "one" {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := other.Owner("two"); !errors.Is(err, instances.ErrNotFound) {
			t.Errorf("the owner of nothing: %v", err)
		}
		_, err := channelstest.TryConnect(t, other.endpoint, "/socket/one", nil)
		var refused *channelstest.RefusedError
		if !errors.As(err, &refused) || refused.Status != http.StatusMisdirectedRequest || !strings.Contains(refused.Body, owner.name+".example") {
			t.Errorf("a client: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestSpreadCreated: a created instance of a type that spreads runs on every node, even one
// that joins later, with one bus.
func TestSpreadCreated(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "all", Type: "spread"})
		c.awaitEverywhere("all", instances.Running, time.Second)
		late := c.start("late")
		if i, err := late.Get("all"); err != nil || i.State != instances.Running || i.Node != "" {
			t.Errorf("on a node that joins: %+v, %v", i, err)
		}
		var there []*channelstest.Channel
		for _, n := range c.nodes {
			if o, err := n.Owner("all"); err != nil || !o.Self {
				t.Errorf("%s: %+v, %v", n.name, o, err)
			}
			there = append(there, channelstest.Connect(t, n.endpoint, "/socket/all").Join("counter", nil))
		}
		if err := late.Broadcast("all", "counter", "hello", json.RawMessage("{}")); err != nil {
			t.Fatal(err)
		}
		for _, ch := range there {
			ch.AssertBroadcast("hello", struct{}{})
		}
		if _, err := c.nodes["b"].Update(t.Context(), "all", instances.AnyRevision, func(s *instances.Spec) error { s.Config = json.RawMessage(`{"step":3}`); return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, ch := range there {
			ch.Push("count", nil).AssertReply("ok", map[string]int64{"n": 3})
		}
		if _, err := late.Signal(t.Context(), "all", "save", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.nodes["b"].Delete(t.Context(), "all", instances.AnyRevision); err != nil {
			t.Fatal(err)
		}
		c.awaitGone("all", 15*time.Second)
		c.await("nothing is left", 5*time.Second, func() bool { return len(c.keysOf("all")) == 0 })
	})
}

// TestHandOver: a node that closes hands its instances over with their last state,
// after all their hooks.
func TestHandOver(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "one", Type: "hooked"})
		c.awaitEverywhere("one", instances.Running, time.Second)
		owner, other := c.owner("one")
		if got := c.noted(); !slices.Equal(got, []string{owner.name + ": Start"}) {
			t.Errorf("hooks: %v", got)
		}
		begun := time.Now()
		owner.close(t)()
		delete(c.nodes, owner.name)
		c.awaitEverywhere("one", instances.Running, 3*time.Second)
		t.Logf("taken over after %s", time.Since(begun))
		if got, want := c.noted(), []string{owner.name + ": Draining", owner.name + ": Stop", other.name + ": Start"}; !slices.Equal(got, want) {
			t.Errorf("hooks: %v, want %v", got, want)
		}
		trail, err := other.Signal(t.Context(), "one", "trail", nil)
		if want := fmt.Sprintf("%q", owner.name+"."+other.name); err != nil || string(trail) != want {
			t.Errorf("it goes on with %s, %v, want %s", trail, err, want)
		}
	})
}

// TestCutOff: a node that is cut off stops its instances within 12 s, and says why;
// another continues with their last state; whatever the first still saves is refused.
func TestCutOff(t *testing.T) {
	inCluster(t, "a b c", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "one", Type: "counter"})
		c.nodes["a"].create(t, instances.Spec{ID: "hooked", Type: "hooked"})
		c.nodes["a"].create(t, instances.Spec{ID: "all", Type: "spread"})
		for _, id := range []string{"one", "hooked", "all"} {
			c.awaitEverywhere(id, instances.Running, time.Second)
		}
		owner, _ := c.owner("one")
		if _, err := owner.Signal(t.Context(), "one", "add", json.RawMessage("40")); err != nil {
			t.Fatal(err)
		}
		if _, err := owner.Signal(t.Context(), "one", "save", nil); err != nil {
			t.Fatal(err)
		}
		client, stays := channelstest.Connect(t, owner.endpoint, "/socket/one"), channelstest.Connect(t, owner.endpoint, "/socket/all")
		begun := time.Now()
		owner.link.SetCut(true)
		_, err := owner.Signal(t.Context(), "one", "save", nil)
		if err == nil {
			t.Error("saved without a store")
		}
		c.await("the instance stops where it is cut off", 12*time.Second, func() bool { i, _ := owner.Get("one"); return i.State == instances.Pending })
		t.Logf("stopped after %s", time.Since(begun))
		client.AssertClosed(1012)
		i, _ := owner.Get("one")
		if !strings.Contains(i.Reason, "cannot reach a majority") {
			t.Errorf("the reason is %q", i.Reason)
		}
		if _, err := owner.Owner("one"); time.Since(begun) > 12*time.Second && !errors.Is(err, instances.ErrNoOwner) {
			t.Errorf("its owner: %v", err)
		}
		assertRefused(t, owner.server, "/socket/one", http.StatusServiceUnavailable)
		stays.Join("counter", nil).Push("count", nil).AssertReply("ok", map[string]int64{"n": 1}) // everything else goes on
		if _, _, err := owner.Create(t.Context(), instances.Spec{ID: "two", Type: "counter"}); !errors.Is(err, instances.ErrUnreachable) {
			t.Errorf("create: %v", err)
		}
		delete(c.nodes, owner.name)
		c.await("another node runs it", owners.LeaseTime+3*owners.Turn, func() bool {
			for _, n := range c.nodes {
				if i, _ := n.Get("one"); i.Node == owner.name || i.State != instances.Running {
					return false
				}
			}
			return true
		})
		t.Logf("taken over after %s", time.Since(begun))
		next, _ := c.owner("one")
		if n, err := next.Signal(t.Context(), "one", "add", json.RawMessage("2")); err != nil || string(n) != "42" {
			t.Errorf("it goes on with %s, %v", n, err)
		}
		owner.link.SetCut(false)
		c.nodes[owner.name] = owner
		c.awaitEverywhere("one", instances.Running, 5*time.Second)
		c.awaitEverywhere("hooked", instances.Running, 5*time.Second)
		if now, _ := c.owner("one"); now != next {
			t.Errorf("it moved to %s", now.name)
		}
		for _, hook := range c.noted() {
			if strings.HasSuffix(hook, "Stop") {
				t.Errorf("%s was called for an instance that was lost", hook)
			}
		}
	})
}

// TestNoMajority: while no node reaches the store, no instance with a single owner runs; all
// start again when it is back.
func TestNoMajority(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		for i := range 10 {
			c.nodes["a"].create(t, instances.Spec{ID: fmt.Sprint("game-", i), Type: "counter"})
		}
		for _, n := range c.nodes {
			n.link.SetCut(true)
		}
		time.Sleep(owners.GiveUpAfter + time.Second)
		for _, n := range c.nodes {
			for i := range 10 {
				if o, err := n.Owner(fmt.Sprint("game-", i)); err == nil && o.Self {
					t.Errorf("%s still runs game-%d", n.name, i)
				}
			}
		}
		time.Sleep(owners.LeaseTime - owners.GiveUpAfter) // what a node knows of another's lease is younger than the lease
		for _, n := range c.nodes {
			list, _ := n.List(instances.Filter{})
			for _, i := range list {
				if i.State != instances.Pending || !strings.Contains(i.Reason, "cannot reach a majority") {
					t.Errorf("%s knows %s as %s: %q", n.name, i.ID, i.State, i.Reason)
				}
			}
		}
		time.Sleep(time.Minute)
		for _, n := range c.nodes {
			n.link.SetCut(false)
		}
		for i := range 10 {
			c.awaitEverywhere(fmt.Sprint("game-", i), instances.Running, 20*time.Second)
		}
	})
}

// TestFailedEverywhere: an instance that has failed stays failed on all nodes until it is
// resumed, even when its owner goes; its crashes are not forgotten.
func TestFailedEverywhere(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		if _, _, err := c.nodes["a"].Create(t.Context(), instances.Spec{ID: "bad", Type: "faulty", Config: json.RawMessage(`{"start":"error"}`)}); err != nil {
			t.Fatal(err)
		}
		c.awaitEverywhere("bad", instances.Failed, 5*time.Second)
		owner, other := c.owner("bad")
		if i, _ := other.Get("bad"); i.Reason != "start: told to" {
			t.Errorf("the reason is %q", i.Reason)
		}
		if kinds := other.eventsOf("bad"); kinds[0] != instances.EventCreated || kinds[len(kinds)-1] != instances.EventFailed || !slices.Contains(kinds, instances.EventCrashed) {
			t.Errorf("events: %v", kinds)
		}
		owner.close(t)()
		delete(c.nodes, owner.name)
		time.Sleep(20 * time.Second)
		if i, _ := other.Get("bad"); i.State != instances.Failed || i.Node != other.name {
			t.Errorf("after the owner has gone: %+v", i)
		}
		if s, err := other.Stats("bad"); err != nil || s.Crashes != 6 || s.Restarts != 5 {
			t.Errorf("stats: %+v, %v", s, err)
		}
		if _, err := other.Resume(t.Context(), "bad"); err != nil {
			t.Error(err)
		}
		c.await("it fails again", 5*time.Second, func() bool { s, _ := other.Stats("bad"); return s.Crashes == 12 })
		i, err := other.Update(t.Context(), "bad", instances.AnyRevision, func(s *instances.Spec) error { s.Config = nil; return nil })
		if err != nil || i.State != instances.Running {
			t.Errorf("repaired: %+v, %v", i, err)
		}
	})
}

// TestCreateAtOnce: of nodes that create an instance at the same time, exactly one creates
// it; the others get that one, or a conflict.
func TestCreateAtOnce(t *testing.T) {
	inCluster(t, "a b c", func(t *testing.T, c *cluster) {
		for round := range 20 {
			id := fmt.Sprint("round-", round)
			var all sync.WaitGroup
			var mu sync.Mutex
			created, conflicts := 0, 0
			for name, n := range c.nodes {
				all.Go(func() {
					spec := instances.Spec{ID: id, Type: "counter"}
					if round%2 == 1 {
						spec.Labels = map[string]string{"from": name}
					}
					i, is, err := n.Create(t.Context(), spec)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case is:
						created++
					case errors.As(err, new(*instances.ConflictError)):
						conflicts++
						return
					}
					if err != nil || i.State != instances.Running {
						t.Errorf("round %d on %s: %+v, %v", round, name, i, err)
					}
				})
			}
			all.Wait()
			if want := round % 2 * 2; created != 1 || conflicts != want {
				t.Errorf("round %d: %d created, %d conflicts, want %d", round, created, conflicts, want)
			}
		}
	})
}

// TestChangesAtOnce: changes that nodes make at the same time all count.
func TestChangesAtOnce(t *testing.T) {
	inCluster(t, "a b c", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "one", Type: "counter"})
		var all sync.WaitGroup
		for name, n := range c.nodes {
			all.Go(func() {
				for i := range 10 {
					_, err := n.Update(t.Context(), "one", instances.AnyRevision, func(s *instances.Spec) error {
						if s.Labels == nil {
							s.Labels = make(map[string]string)
						}
						s.Labels[fmt.Sprint(name, i)] = "x"
						s.Config = fmt.Appendf(nil, `{"step":%d}`, 50+len(s.Labels))
						return nil
					})
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		all.Wait()
		c.await("all labels on all nodes", time.Second, func() bool {
			for _, n := range c.nodes {
				if i, err := n.Get("one"); err != nil || len(i.Labels) != 30 {
					return false
				}
			}
			return true
		})
		owner, _ := c.owner("one")
		time.Sleep(time.Second)
		channelstest.Connect(t, owner.endpoint, "/socket/one").Join("counter", nil).Push("count", nil).AssertReply("ok", map[string]int64{"n": 80})
		if s, err := owner.Stats("one"); err != nil || s.Crashes != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestIdleEverywhere: an instance that runs on all nodes is idle only if it is idle on each
// of them.
func TestIdleEverywhere(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		c.nodes["a"].create(t, instances.Spec{ID: "all", Type: "spread", IdleTTL: 10e9})
		c.nodes["a"].create(t, instances.Spec{ID: "one", Type: "counter", IdleTTL: 10e9})
		c.awaitEverywhere("all", instances.Running, time.Second)
		client := channelstest.Connect(t, c.nodes["b"].endpoint, "/socket/all")
		owner, _ := c.owner("one")
		other := channelstest.Connect(t, owner.endpoint, "/socket/one")
		time.Sleep(time.Minute)
		c.awaitEverywhere("all", instances.Running, time.Second)
		c.awaitEverywhere("one", instances.Running, time.Second)
		client.Close()
		other.Close()
		time.Sleep(9 * time.Second)
		c.awaitEverywhere("all", instances.Running, time.Second)
		c.awaitGone("all", 15*time.Second)
		c.awaitGone("one", 15*time.Second)
		c.await("nothing is left", 5*time.Second, func() bool { return len(c.keysOf("all")) == 0 && len(c.keysOf("one")) == 0 })
	})
}

// TestUnknownType: a node that does not have an instance's type knows it, and leaves it to others.
func TestUnknownType(t *testing.T) {
	inCluster(t, "a b", func(t *testing.T, c *cluster) {
		a := c.nodes["a"]
		a.Register(instances.Define("new", "Only one node has it.", newCounter))
		a.create(t, instances.Spec{ID: "one", Type: "new"})
		c.awaitEverywhere("one", instances.Running, time.Second)
		if owner, _ := c.owner("one"); owner != a {
			t.Errorf("%s runs it", owner.name)
		}
		a.close(t)()
		delete(c.nodes, "a")
		c.awaitEverywhere("one", instances.Failed, 5*time.Second)
		if i, _ := c.nodes["b"].Get("one"); !strings.Contains(i.Reason, `"new" is not one of this server's types`) {
			t.Errorf("the reason is %q", i.Reason)
		}
	})
}
