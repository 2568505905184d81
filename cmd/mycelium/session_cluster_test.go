package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// withSession connects with a session and joins a topic. It returns when the join is
// answered.
func withSession(t *testing.T, n *node, session string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(n.addr, atDefault+"&session="+session, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	if err := c.WriteText(`["1","1","room:1","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, c, `"phx_reply",{"response":{},"status":"ok"}`)
	return c
}

// numbersUntil reads until a number comes, and returns those that came before it, and it.
func numbersUntil(t *testing.T, c *wstest.Client, last int) (numbers []string) {
	t.Helper()
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("after %v: %v", numbers, err)
		}
		if _, n, ok := strings.Cut(string(data), `"say",{"n":`); ok {
			n = strings.TrimSuffix(n, "}]")
			if numbers = append(numbers, n); n == fmt.Sprint(last) {
				return numbers
			}
		}
	}
}

// sessionCluster is some nodes with a history, and a count of what was said.
func sessionCluster(t *testing.T, names ...string) (nodes []*node, say func(n *node, to int)) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, "history: {rules: [{topics: ['room:*'], age: 10m}]}\n")
	flags := append(embedded(t), "--config="+config)
	for _, name := range names {
		more := slices.Clone(flags)
		if len(nodes) > 0 {
			more = append(more, "--cluster-routes="+nodes[0].route)
		}
		nodes = append(nodes, startNode(t, name, more...))
	}
	for _, n := range nodes {
		wait(t, "they know each other", func() bool { return strings.Count(n.log.String(), "node is up") >= len(names)-1 })
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	next := 0
	return nodes, func(n *node, to int) {
		t.Helper()
		for ; next < to; next++ {
			if status, text := n.call(t, http.MethodPost, "/api/instances/default/broadcast", fmt.Sprintf(`{"topic":"room:1","event":"say","payload":{"n":%d}}`, next)); status != 204 {
				t.Fatalf("%d %s", status, text)
			}
		}
	}
}

// assertTail wants numbers up to the last one, without a gap, and the first one at the
// latest at a bound.
func assertTail(t *testing.T, what string, numbers []string, latest int) {
	t.Helper()
	var first int
	fmt.Sscan(numbers[0], &first)
	for i, n := range numbers {
		if n != fmt.Sprint(first+i) || first > latest {
			t.Fatalf("%s: %v, want numbers from %d on", what, numbers, latest)
		}
	}
}

// TestSessionsOfCluster: a client that has only a session gets what it missed from another
// node: while the first still has its connection, after it has stopped, and after it was
// killed.
func TestSessionsOfCluster(t *testing.T) {
	t.Parallel()
	nodes, say := sessionCluster(t, "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]
	const session = "a-session-of-ada"
	ada := withSession(t, a, session)
	other := withSession(t, a, "a-session-of-bob")
	say(b, 2)
	numbersUntil(t, ada, 1)
	numbersUntil(t, other, 1)
	say(c, 4)
	back := withSession(t, b, session) // ada's connection is half-open
	assertTail(t, "while the first connection is there", numbersUntil(t, back, 3), 2)
	say(c, 5)
	numbersUntil(t, back, 4)

	say(c, 7)
	b.terminate(t)
	back = withSession(t, c, session)
	assertTail(t, "after the node has stopped", numbersUntil(t, back, 6), 5)
	say(c, 8)
	numbersUntil(t, back, 7)
	numbersUntil(t, other, 7)

	back.Drop()
	other.Drop()
	gone := withSession(t, a, "a-session-of-eve")
	say(c, 10)
	numbersUntil(t, gone, 9)
	a.kill()
	say(c, 12)
	back = withSession(t, c, "a-session-of-eve")
	assertTail(t, "after the node was killed", numbersUntil(t, back, 11), 10)
}
