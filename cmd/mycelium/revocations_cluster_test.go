package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestRevocationsOfCluster: who was put out of one node is put out of all, and stays out of
// those that start later, and of the first after all were stopped. What is sent to a user
// reaches the sockets on all nodes.
func TestRevocationsOfCluster(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	_, secret, _ := strings.Cut(authSecret, "=")
	writeFile(t, config, "auth: {secret: "+secret+", join: ['room:*']}\n")
	environ := []string{authSecret}
	old := token(t, environ, "sign", "--sub=ada")
	flags := append(embedded(t), "--config="+config)
	data := t.TempDir()
	a := startNode(t, "a", append(flags, "--data="+data)...)
	routes := slices.Concat(flags, []string{"--cluster-routes=" + a.route})
	b := startNode(t, "b", routes...)
	for _, n := range []*node{a, b} {
		wait(t, "they know each other", func() bool { return strings.Contains(n.log.String(), "node is up") })
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	connect := func(n *node, token string) *wstest.Client {
		t.Helper()
		c, err := wstest.Dial(n.addr, atDefault+"&token="+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Drop() })
		c.Timeout = patience
		return c
	}
	refused := func(n *node, token string) bool {
		c, err := wstest.Dial(n.addr, atDefault+"&token="+token, nil)
		if err == nil {
			c.Drop()
		}
		var status *wstest.StatusError
		return errors.As(err, &status) && status.Status == http.StatusForbidden
	}
	post := func(n *node, path, body string) {
		t.Helper()
		if status, text := n.call(t, http.MethodPost, "/api/instances/default/"+path, body); status >= 300 {
			t.Fatalf("%s %s: %d %s", path, body, status, text)
		}
	}
	clients := []*wstest.Client{connect(a, old), connect(b, old)}
	bob := connect(b, token(t, environ, "sign", "--sub=bob"))
	post(a, "subscribe", `{"user":"ada","topic":"news"}`)
	post(b, "push", `{"user":"ada","topic":"news","event":"hello"}`)
	for _, c := range clients {
		expect(t, c, `"news","hello",{}]`)
	}
	post(a, "broadcast", `{"topic":"news","event":"item"}`) // now: the messages of two nodes have no order
	for _, c := range clients {
		expect(t, c, `"news","item",{}]`)
	}
	if broadcastOnce(t, a) || !broadcastOnce(t, b) || !broadcastOnce(t, a) {
		t.Error("a request with an Idempotency-Key is to be carried out once, at either node")
	}
	for _, n := range []*node{a, b} {
		_, text := n.call(t, http.MethodGet, "/api/instances/default/users", "")
		if want := `{"users":[{"user":"ada","sockets":2,"topics":[]},{"user":"bob","sockets":1,"topics":[]}]}`; strings.TrimSpace(text) != want {
			t.Errorf("the users are %s, want %s", text, want)
		}
		for path, want := range map[string]string{"totals": `{"sockets":3,"users":2,"topics":1}`, "topics": `{"topics":[{"topic":"news","subscribers":2}]}`} {
			if _, text := n.call(t, http.MethodGet, "/api/instances/default/"+path, ""); strings.TrimSpace(text) != want {
				t.Errorf("%s are %s, want %s", path, text, want)
			}
		}
		seen := 0
		for after, page := "", 0; page == 0 || after != ""; page++ {
			_, text := n.call(t, http.MethodGet, "/api/instances/default/sockets?limit=1&after="+after, "")
			var list struct {
				Sockets []struct{ User string }
				Next    string
			}
			if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Sockets) > 1 {
				t.Fatalf("%s: %v", text, err)
			}
			seen, after = seen+len(list.Sockets), list.Next
		}
		if seen != 3 {
			t.Errorf("%d sockets on all pages of both nodes, want 3", seen)
		}
	}
	post(a, "revocations", fmt.Sprintf(`{"user":"ada","issued_before":%q}`, time.Now().Add(time.Second).Format(time.RFC3339)))
	for _, c := range clients {
		closedWith(t, c, auth.CloseRevoked)
	}
	wait(t, "b refuses the token", func() bool { return refused(b, old) })
	if !refused(a, old) {
		t.Error("a accepts a revoked token")
	}
	c := startNode(t, "c", routes...)
	wait(t, "it is ready", func() bool { status, _ := c.ready(t); return status == http.StatusOK })
	// On a busy machine it may be ready before it has heard of the others.
	if both := c.tells(line{Message: "joined the cluster", Node: "c", Others: 2}); !both {
		wait(t, "c refuses the token", func() bool { return refused(c, old) })
	} else if !refused(c, old) {
		t.Error("a node that has just become ready accepts a revoked token")
	}
	post(c, "push", `{"user":"bob","topic":"news","event":"still there"}`)
	expect(t, bob, `"still there"`)
	bob.Drop()
	for _, n := range []*node{c, b, a} {
		n.terminate(t)
	}
	a = startNode(t, "a", append(flags, "--data="+data)...)
	if !refused(a, old) {
		t.Error("after a restart a accepts a revoked token")
	}
	if !broadcastOnce(t, a) {
		t.Error("after a restart a carries out a request again")
	}
	wait(t, "a newer token is accepted", func() bool { return !refused(a, token(t, environ, "sign", "--sub=ada")) })
}

// broadcastOnce sends a node a request that is always the same, and reports whether it says that it was carried out
// before.
func broadcastOnce(t *testing.T, n *node) (replayed bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.addr+"/api/instances/default/broadcast", strings.NewReader(`{"topic":"else","event":"once"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+n.key(t))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "order-17")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("status %d", answer.StatusCode)
	}
	return answer.Header.Get("Idempotency-Replayed") == "true"
}
