package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/linktest"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// cluster is a few managers that share a store, in a bubble of synctest.
type cluster struct {
	t     *testing.T
	store instances.Memory
	hub   *pubsub.Hub
	nodes map[string]*node
	links []*linktest.Link
	// register registers further types; may be nil.
	register func(*instances.Manager)

	mu    sync.Mutex
	hooks []string // "node: hook", as the logic of type hooked is called
}

type node struct {
	*server
	name   string
	link   *linktest.Link
	events <-chan instances.Event
}

// inCluster runs a test with nodes that know each other.
func inCluster(t *testing.T, names string, test func(*testing.T, *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, hub: pubsub.NewHub(), nodes: make(map[string]*node)}
		t.Cleanup(c.close)
		for name := range strings.FieldsSeq(names) {
			c.start(name)
		}
		time.Sleep(time.Second)
		test(t, c)
	})
}

func (c *cluster) start(name string) *node {
	c.t.Helper()
	link := linktest.New(&c.store)
	n := &node{name: name, link: link}
	n.server = start(c.t, instances.Options{
		Store: link, Node: name, Address: name + ".example", Bus: func(string) pubsub.Bus { return c.hub.Node() },
		Elsewhere: func(id string, o instances.Owner) error {
			return &channels.RefusedError{Status: http.StatusMisdirectedRequest, Body: id + " is on " + o.Node + " at " + o.Address}
		},
	})
	n.Register(instances.Define("spread", "Counts on all nodes.", newCounter).Spread())
	n.Register(instances.Define("hooked", "Notes its hooks.", func(in *instances.Instance, _ struct{}) (instances.Logic, error) {
		return &hooked{in: in, c: c, node: name}, nil
	}))
	n.Register(instances.Define("faulty", "Goes wrong as it is told.", (&faulty{}).build))
	if c.register != nil {
		c.register(n.Manager)
	}
	n.events, _ = n.Watch(1000)
	if err := n.Open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[name] = n
	c.links = append(c.links, link)
	return n
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.link.SetCut(false)
	}
	for _, n := range c.nodes {
		n.close(c.t)()
	}
	for _, l := range c.links {
		l.WaitLate()
	}
}

// hooked is logic with every hook of a life. It saves the names of the nodes that it
// ran on.
type hooked struct {
	in    *instances.Instance
	c     *cluster
	node  string
	trail string
}

func (h *hooked) note(hook string) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.hooks = append(h.c.hooks, h.node+": "+hook)
}

func (h *hooked) Channels() []*channels.Channel { return nil }

func (h *hooked) Start(ctx context.Context) error {
	h.note("Start")
	trail, err := h.in.Load(ctx, "trail")
	if err != nil && !errors.Is(err, instances.ErrNoState) {
		return err
	}
	h.trail = string(trail) + h.node
	return h.in.Save(ctx, "trail", []byte(h.trail))
}

func (h *hooked) Draining(context.Context) { h.note("Draining") }

func (h *hooked) Stop(ctx context.Context) error {
	h.note("Stop")
	return h.in.Save(ctx, "trail", []byte(h.trail+"."))
}

func (h *hooked) Signal(ctx context.Context, name string, _ json.RawMessage) (any, error) {
	if name == "forget" {
		return nil, h.in.Forget(ctx, "trail")
	}
	return h.trail, nil
}

// noted returns the hooks that were called since the last time.
func (c *cluster) noted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.hooks = nil }()
	return c.hooks
}

// await waits until the condition holds, and fails the test after a time.
func (c *cluster) await(what string, within time.Duration, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			for name, n := range c.nodes {
				list, _ := n.List(instances.Filter{})
				for _, i := range list {
					c.t.Logf("%s knows %s: %s %q on %q, revision %d", name, i.ID, i.State, i.Reason, i.Node, i.Revision)
				}
			}
			entries, _ := c.store.List(c.t.Context(), "")
			for _, e := range entries {
				c.t.Logf("the store has %s at %d: %s", e.Key, e.Revision, e.Value)
			}
			c.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// awaitEverywhere waits until all nodes show an instance in a state.
func (c *cluster) awaitEverywhere(id string, state instances.State, within time.Duration) {
	c.t.Helper()
	c.await(fmt.Sprint(id, " is ", state, " on all nodes"), within, func() bool {
		for _, n := range c.nodes {
			if i, err := n.Get(id); err != nil || i.State != state {
				return false
			}
		}
		return true
	})
}

func (c *cluster) awaitGone(id string, within time.Duration) {
	c.t.Helper()
	c.await(id+" is gone on all nodes", within, func() bool {
		for _, n := range c.nodes {
			if _, err := n.Get(id); !errors.Is(err, instances.ErrNotFound) {
				return false
			}
		}
		return true
	})
}

// owner returns the node that runs an instance, and another one.
func (c *cluster) owner(id string) (owner, other *node) {
	c.t.Helper()
	for _, n := range c.nodes {
		o, err := n.Owner(id)
		if err != nil {
			c.t.Fatalf("%s does not know who runs %s: %v", n.name, id, err)
		}
		if o.Self {
			owner = n
		} else {
			other = n
		}
	}
	if owner == nil {
		c.t.Fatalf("no node runs %s", id)
	}
	return owner, other
}

// keysOf lists the keys of an instance in the store.
func (c *cluster) keysOf(id string) (keys []string) {
	list, _ := c.store.List(c.t.Context(), "")
	for _, e := range list {
		if parts := strings.Split(e.Key, "."); len(parts) > 1 && parts[1] == id {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// eventsOf returns the kinds of the events of an instance so far.
func (n *node) eventsOf(id string) (kinds []instances.EventKind) {
	for {
		select {
		case e := <-n.events:
			if e.ID == id {
				kinds = append(kinds, e.Kind)
			}
		default:
			return kinds
		}
	}
}

func assertEvents(t *testing.T, n *node, id string, want ...instances.EventKind) {
	t.Helper()
	if got := n.eventsOf(id); !slices.Equal(got, want) {
		t.Errorf("%s was told of %s: %v, want %v", n.name, id, got, want)
	}
}
