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

// comesBack joins a topic with a position, and returns the history_state.
func comesBack(t *testing.T, n *node, pos string) (c *wstest.Client, state string) {
	t.Helper()
	c, err := wstest.Dial(n.addr, atDefault, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	ask := `{"history":{}}`
	if pos != "" {
		ask = fmt.Sprintf(`{"history":{"after":%q}}`, pos)
	}
	if err := c.WriteText(`["1","1","room:1","phx_join",` + ask + `]`); err != nil {
		t.Fatal(err)
	}
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if _, state, ok := strings.Cut(string(data), `"history_state",`); ok {
			return c, strings.TrimSuffix(state, "]")
		}
	}
}

// untilMark reads the numbers that come before the next mark, and returns them and its
// position.
func untilMark(t *testing.T, c *wstest.Client) (numbers, pos string) {
	t.Helper()
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if _, n, ok := strings.Cut(string(data), `"say",{"n":`); ok {
			numbers += strings.TrimSuffix(n, "}]") + " "
		}
		if _, p, ok := strings.Cut(string(data), `"history_mark",{"pos":"`); ok {
			return numbers, strings.TrimSuffix(p, `"}]`)
		}
	}
}

// TestHistoryOfCluster: a client gets what it missed from another node, from one that was
// started since, and from the same one after all were stopped.
func TestHistoryOfCluster(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, "history: {rules: [{topics: ['room:*'], age: 10m}]}\n")
	flags := append(embedded(t), "--config="+config)
	data := t.TempDir()
	a := startNode(t, "a", append(flags, "--data="+data)...)
	routes := slices.Concat(flags, []string{"--cluster-routes=" + a.route})
	b := startNode(t, "b", routes...)
	for _, n := range []*node{a, b} {
		wait(t, "they know each other", func() bool { return strings.Contains(n.log.String(), "node is up") })
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	say := func(n *node, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if status, text := n.call(t, http.MethodPost, "/api/instances/default/broadcast", fmt.Sprintf(`{"topic":"room:1","event":"say","payload":{"n":%d}}`, i)); status != 204 {
				t.Fatalf("%d %s", status, text)
			}
		}
	}
	ada, _ := comesBack(t, a, "")
	_, start := untilMark(t, ada)
	bob, _ := comesBack(t, b, "")
	untilMark(t, bob)
	say(a, 0, 1)
	expect(t, bob, `"say",{"n":0}]`) // so that those of b follow it
	say(b, 1, 3)
	for _, c := range []*wstest.Client{ada, bob} {
		expect(t, c, `"say",{"n":2}]`)
	}
	ada.Drop()
	back, state := comesBack(t, b, start)
	if numbers, _ := untilMark(t, back); state != `{"recovered":true,"replayed":3}` || numbers != "0 1 2 " {
		t.Errorf("at another node: %s %s", state, numbers)
	}
	c := startNode(t, "c", routes...)
	wait(t, "it is ready", func() bool { status, _ := c.ready(t); return status == http.StatusOK })
	has := func(n *node, numbers ...int) {
		t.Helper()
		wait(t, fmt.Sprintf("%s has the messages %v", n.name, numbers), func() bool {
			_, text := n.call(t, http.MethodGet, "/api/instances/default/topics/room:1/history", "")
			return !slices.ContainsFunc(numbers, func(i int) bool { return !strings.Contains(text, fmt.Sprintf(`"n":%d}`, i)) })
		})
	}
	has(c, 0, 1, 2) // of two nodes
	late, state := comesBack(t, c, start)
	numbers, mark := untilMark(t, late)
	// c may have heard of b's messages before a's: only those of one node have an order.
	if all := strings.Fields(numbers); state != `{"recovered":true,"replayed":3}` || !slices.Contains(all, "0") || !strings.Contains(strings.Replace(numbers, "0 ", "", 1), "1 2 ") {
		t.Errorf("at a node that was started since: %s %s", state, numbers)
	}
	say(c, 3, 5)
	expect(t, bob, `"say",{"n":4}]`)
	has(a, 3, 4)
	for _, client := range []*wstest.Client{bob, back, late} {
		client.Drop()
	}
	c.terminate(t)
	b.terminate(t)
	a.terminate(t)

	a = startNode(t, "a", append(flags, "--data="+data)...)
	wait(t, "it is ready", func() bool { status, _ := a.ready(t); return status == http.StatusOK })
	back, state = comesBack(t, a, mark)
	if numbers, _ := untilMark(t, back); state != `{"recovered":true,"replayed":2}` || numbers != "3 4 " {
		t.Errorf("after all were stopped: %s %s", state, numbers)
	}
}

// TestHistoryOfKilledNode: what a killed node had sent to the others is not lost.
func TestHistoryOfKilledNode(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, "history: {rules: [{topics: ['room:*'], age: 10m}]}\n")
	flags := append(embedded(t), "--config="+config)
	a := startNode(t, "a", flags...)
	b := startNode(t, "b", slices.Concat(flags, []string{"--cluster-routes=" + a.route})...)
	for _, n := range []*node{a, b} {
		wait(t, "they know each other", func() bool { return strings.Contains(n.log.String(), "node is up") })
	}
	ada, _ := comesBack(t, a, "")
	_, start := untilMark(t, ada)
	bob, _ := comesBack(t, b, "")
	for i := range 20 {
		if err := ada.WriteText(fmt.Sprintf(`["1","%d","room:1","say",{"n":%d}]`, i+2, i)); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, bob, `"say",{"n":19}]`)
	a.kill()
	back, state := comesBack(t, b, start)
	if numbers, _ := untilMark(t, back); state != `{"recovered":true,"replayed":20}` || strings.Count(numbers, " ") != 20 {
		t.Errorf("at the other node: %s %s", state, numbers)
	}
}
