package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// shown is an instance as the API of a node shows it.
func (n *node) shown(t *testing.T, id string) (i instances.Info, ok bool) {
	t.Helper()
	status, text := n.call(t, http.MethodGet, "/api/instances/"+id, "")
	return i, status == http.StatusOK && json.Unmarshal([]byte(text), &i) == nil
}

// awaitRunning waits until all nodes show an instance as running, on the same node or on
// all, and returns that.
func awaitRunning(t *testing.T, nodes []*node, id string) (owner string) {
	t.Helper()
	wait(t, id+" runs", func() bool {
		for at, n := range nodes {
			i, ok := n.shown(t, id)
			if !ok || i.State != instances.Running || at > 0 && i.Node != owner {
				return false
			}
			owner = i.Node
		}
		return true
	})
	return owner
}

const atTalk = "/socket/talk/websocket?vsn=2.0.0"

// joinTalk joins the chat through a node, and again if the join is refused, as a client
// does: JetStream may be electing a leader, or the instance may be moving.
func joinTalk(t *testing.T, n *node) *member {
	t.Helper()
	return joinTalkWith(t, n, `"history":null`)
}

// joinTalkWith is joinTalk with a further field in the params of the join.
func joinTalkWith(t *testing.T, n *node, params string) *member {
	t.Helper()
	var m *member
	wait(t, "a join through "+n.name, func() bool {
		c, err := wstest.Dial(n.addr, atTalk, nil)
		if err != nil {
			return false
		}
		c.Timeout = patience
		m = &member{c, "room:1"}
		m.write(t, `["1","1","room:1","phx_join",{"user":"guest-of-%s",%s}]`, n.name, params)
		for {
			_, data, err := c.ReadMessage()
			if err != nil {
				return false
			}
			if strings.Contains(string(data), `"phx_reply"`) {
				if strings.Contains(string(data), `"status":"ok"`) {
					return true
				}
				_ = c.Drop()
				return false
			}
		}
	})
	t.Cleanup(func() { _ = m.Drop() })
	return m
}

// TestSharedInstances: three processes know the same instances, whichever was asked to
// create them; clients of an instance connect to any node; its owner hands it over when
// it is stopped, and another takes it when the owner is killed, with what was saved, and
// clients that come back are sent what they missed.
// It takes half a minute: a node that is killed is given up after 14 s.
func TestSharedInstances(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	a, b := s.nodes[0], s.nodes[1]
	wait(t, "talk is created", func() bool {
		status, _ := a.call(t, http.MethodPost, "/api/instances", `{"id":"talk","type":"chat"}`)
		return status == http.StatusCreated || status == http.StatusOK // the store elects its leader
	})
	wait(t, "news is created", func() bool {
		status, _ := b.call(t, http.MethodPost, "/api/instances", `{"id":"news","type":"relay"}`)
		return status == http.StatusCreated || status == http.StatusOK
	})
	if node := awaitRunning(t, s.nodes, "news"); node != "" {
		t.Errorf("a relay is on %q, want all nodes", node)
	}
	here, there := joinAt(t, a, "/socket/news/websocket?vsn=2.0.0", "room:1"), joinAt(t, b, "/socket/news/websocket?vsn=2.0.0", "room:1")
	here.say(t, 1)
	there.hears(t, 1, 1)

	owner := awaitRunning(t, s.nodes, "talk")
	for _, n := range s.nodes {
		c := joinTalk(t, n)
		c.write(t, `["1","2","room:1","new_msg",{"body":"hello from %s"}]`, n.name)
		expect(t, c.Client, `"status":"ok"`)
	}
	code, out, stderr := a.command(t, "instances", "list")
	for _, row := range []string{`default +relay +running +all `, `news +relay +running +all `, `talk +chat +running +` + owner + ` `} {
		if code != 0 || !regexp.MustCompile(row).MatchString(out) {
			t.Errorf("instances list has no %q: %d %s%s", row, code, out, stderr)
		}
	}

	// SIGTERM: handed over, with what Stop saves.
	rest := s.end(t, owner, func(n *node) { n.terminate(t) })
	began := time.Now()
	next := awaitRunning(t, rest, "talk")
	t.Logf("handed over from %s to %s, seen %s after the end of its process", owner, next, time.Since(began))
	s.assertBacklog(t, rest, "hello from a", "hello from b", "hello from c")
	s.restartNamed(t, owner)

	// SIGKILL: taken over, with what was saved.
	c := joinTalk(t, rest[0])
	c.write(t, `["1","2","room:1","new_msg",{"body":"saved"}]`)
	expect(t, c.Client, `"status":"ok"`)
	time.Sleep(6 * time.Second) // chat.SaveAfter and the store's time
	follower := joinTalkWith(t, rest[0], `"history":{}`)
	_, mark := untilMark(t, follower.Client)
	_ = follower.Drop()
	c.write(t, `["1","3","room:1","new_msg",{"body":"missed"}]`)
	expect(t, c.Client, `"status":"ok"`)
	s.awaitSameHistory(t) // an ok does not wait for the other nodes: the history is not durable
	rest = s.end(t, next, func(n *node) { n.kill() })
	began = time.Now()
	wait(t, "another node has it", func() bool { i, ok := rest[0].shown(t, "talk"); return ok && i.Node != next && i.Node != "" })
	awaitRunning(t, rest, "talk")
	t.Logf("taken over %s after a kill", time.Since(began))
	s.assertBacklog(t, rest, "hello from a", "saved")
	for _, n := range rest { // what was said last, and not saved, other nodes had too
		follower = joinTalkWith(t, n, `"history":{"after":"`+mark+`"}`)
		got := readUntil(t, follower.Client, `"history_mark"`)
		if !strings.Contains(got, `"recovered":true`) || !strings.Contains(got, `"missed"`) {
			t.Errorf("through %s a client that comes back got %s", n.name, got)
		}
	}

	wait(t, "talk is deleted", func() bool {
		status, _ := rest[0].call(t, http.MethodDelete, "/api/instances/talk", "")
		return status == http.StatusNoContent || status == http.StatusNotFound // the store may still elect its leader
	})
	for _, n := range rest {
		wait(t, "talk is gone on "+n.name, func() bool {
			status, _ := n.call(t, http.MethodGet, "/api/instances/talk", "")
			return status == http.StatusNotFound
		})
	}
}

// readUntil returns the messages up to the next one with a text.
func readUntil(t *testing.T, c *wstest.Client, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v after %s", text, err, all.String())
		}
		all.Write(data)
	}
	return all.String()
}

// end ends a node, and returns the others.
func (s *sharing) end(t *testing.T, name string, end func(*node)) (rest []*node) {
	t.Helper()
	for _, n := range s.nodes {
		if n.name == name {
			end(n)
		} else {
			rest = append(rest, n)
		}
	}
	return rest
}

// awaitSameHistory waits until all nodes have the same number of recorded messages.
func (s *sharing) awaitSameHistory(t *testing.T) {
	t.Helper()
	messages := regexp.MustCompile(`(?m)^mycelium_history_messages .*$`)
	wait(t, "the history is the same on all nodes", func() bool {
		first := messages.FindString(s.nodes[0].metrics(t))
		return first != "" && !slices.ContainsFunc(s.nodes[1:], func(n *node) bool { return messages.FindString(n.metrics(t)) != first })
	})
}

func (s *sharing) restartNamed(t *testing.T, name string) {
	t.Helper()
	for i, n := range s.nodes {
		if n.name == name {
			s.restart(t, i)
			s.nodes[i].awaitReady(t)
		}
	}
}

// assertBacklog wants a client that joins the chat through any node to get these
// messages.
func (s *sharing) assertBacklog(t *testing.T, nodes []*node, messages ...string) {
	t.Helper()
	for _, n := range nodes {
		c := joinTalk(t, n)
		for {
			_, data, err := c.ReadMessage()
			if err != nil {
				t.Fatalf("waiting for the backlog on %s: %v", n.name, err)
			}
			if !strings.Contains(string(data), `"backlog"`) {
				continue
			}
			for _, m := range messages {
				if !strings.Contains(string(data), m) {
					t.Errorf("through %s: %s is not in %s", n.name, m, data)
				}
			}
			break
		}
	}
}

// TestOwnInstancesAreNotLost: a node that joins a cluster with shared instances says which
// of its own are not served. It starts without a majority, and says what is missing.
func TestOwnInstancesAreNotLost(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	store, err := boltstore.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "spec.mine", []byte(`{"spec":{"id":"mine","type":"chat"}}`), 0); err != nil {
		t.Fatal(err)
	}
	store.Close()
	n := startNode(t, "a", append(embedded(t)[1:], "--cluster-listen="+addrtest.Free(t), "--cluster-instances=shared", "--cluster-size=3",
		"--cluster-routes=nats://"+addrtest.Free(t)+",nats://"+addrtest.Free(t)+",nats://"+addrtest.Free(t), "--data="+data)...)
	wait(t, "the log has it", func() bool {
		return strings.Contains(n.log.String(), `"instances":["mine"]`) && strings.Contains(n.log.String(), filepath.Join(data, boltstore.File))
	})
	ada, bob := joinAt(t, n, atDefault, "room:1"), joinAt(t, n, atDefault, "room:1")
	ada.say(t, 1)
	bob.hears(t, 1, 1)
	if status, text := n.call(t, http.MethodPost, "/api/instances", `{"id":"more","type":"chat"}`); status != http.StatusServiceUnavailable || !strings.Contains(text, "majority") {
		t.Errorf("create: %d %s", status, text)
	}
}
