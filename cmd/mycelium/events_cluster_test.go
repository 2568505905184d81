package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/natstest"
)

// TestEventsOnNATS: two nodes of a cluster publish events. What happens on a node is told by
// that node alone: a message once, and a topic as occupied by each node where it is.
func TestEventsOnNATS(t *testing.T) {
	t.Parallel()
	external := natstest.Start(t)
	messages := natstest.Listen(t, external.URL(), "mycelium.prod.events.>")
	node := func(name string) *server {
		return start(t, "serve", "--cluster-name=prod", "--cluster-node="+name, "--cluster-nats-url="+external.URL(),
			"--data="+t.TempDir(), "--cluster-nats-events=occupied,joined,presence,published")
	}
	a, b := node("a"), node("b")
	for _, s := range []*server{a, b} {
		c := dial(t, s, "&user=ada")
		if err := c.WriteText(`["1","1","room:1","phx_join",{}]`); err != nil {
			t.Fatal(err)
		}
		expect(t, c, `"status":"ok"`)
	}
	if status, text := a.call(t, "POST", "/api/instances/default/broadcast", `{"topic":"room:1","event":"m"}`); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	want := []string{"a joined", "a occupied", "a presence", "a published", "b joined", "b occupied", "b presence"}
	var got []string
	ids := map[string]bool{}
	for len(got) < len(want) {
		select {
		case m := <-messages:
			var e struct{ ID, Type, Node string }
			if err := json.Unmarshal(m.Data, &e); err != nil {
				t.Fatalf("%s: %v", m.Data, err)
			}
			if e.ID == "" || e.ID != m.ID || ids[e.ID] || m.Subject != "mycelium.prod.events.default."+e.Type {
				t.Errorf("%s on %s with id %q", m.Data, m.Subject, m.ID)
			}
			ids[e.ID] = true
			got = append(got, e.Node+" "+e.Type)
		case <-time.After(patience):
			t.Fatalf("published %q, want %q", got, want)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}

	// While NATS is away events wait.
	external.Stop()
	if status, text := a.call(t, "POST", "/api/instances/default/broadcast", `{"topic":"room:1","event":"late"}`); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	external.Restart()
	messages = natstest.Listen(t, external.URL(), "mycelium.prod.events.>")
	deadline := time.After(patience)
	for n := 0; ; n++ {
		if n%5 == 0 { // the listener may have come after the first
			a.call(t, "POST", "/api/instances/default/broadcast", `{"topic":"room:1","event":"late"}`)
		}
		select {
		case m := <-messages:
			if strings.Contains(string(m.Data), `"event":"late"`) {
				return
			}
		case <-time.After(time.Second):
		case <-deadline:
			t.Fatal("what was published while NATS was away did not come: " + fmt.Sprint(a.log))
		}
	}
}
