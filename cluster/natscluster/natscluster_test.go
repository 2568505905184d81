package natscluster

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/natstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/pubsub/pubsubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = bytes.Repeat([]byte("s"), 32)

// patience is how long a test waits for what must happen on a loaded machine.
const patience = 60 * time.Second

var wait = waittest.For

// embed starts a node with a server of its own, on loopback.
func embed(t *testing.T, o EmbedOptions) (*cluster.Node, *Transport) {
	t.Helper()
	o.Cluster, o.Listen = "test", "127.0.0.1:0"
	if o.Secret == nil {
		o.Secret = secret
	}
	transport, err := Embed(o)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, o.Name, transport), transport
}

func start(t *testing.T, name string, transport *Transport) *cluster.Node {
	t.Helper()
	n, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func routeTo(t *Transport) []string { return []string{"nats://" + t.RouteAddr().String()} }

// up returns how many peers of a node are up.
func up(n *cluster.Node) (count int) {
	for _, p := range n.Stats().Peers {
		if p.Up {
			count++
		}
	}
	return count
}

// TestBusEmbedded runs the suite of buses over two embedded servers.
func TestBusEmbedded(t *testing.T) {
	pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
		nodeA, transport := embed(t, EmbedOptions{Name: "a"})
		nodeB, _ := embed(t, EmbedOptions{Name: "b", Routes: routeTo(transport)})
		wait(t, "both are up", func() bool { return up(nodeA) == 1 && up(nodeB) == 1 })
		return nodeA.Bus(""), nodeB.Bus("")
	})
}

// TestBusExternal runs it over an external server.
func TestBusExternal(t *testing.T) {
	s := natstest.Start(t)
	pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
		var nodes []*cluster.Node
		for _, name := range []string{"a", "b"} {
			transport, err := Connect(strings.ReplaceAll(t.Name(), "/", "-"), s.URL())
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, start(t, name, transport))
		}
		wait(t, "both are up", func() bool { return up(nodes[0]) == 1 && up(nodes[1]) == 1 })
		return nodes[0].Bus(""), nodes[1].Bus("")
	})
}

// TestMesh: three nodes that are each given one address all find each other.
func TestMesh(t *testing.T) {
	a, transport := embed(t, EmbedOptions{Name: "a"})
	b, second := embed(t, EmbedOptions{Name: "b", Routes: routeTo(transport)})
	c, _ := embed(t, EmbedOptions{Name: "c", Routes: routeTo(second)})
	wait(t, "all know each other", func() bool { return up(a) == 2 && up(b) == 2 && up(c) == 2 })
	if s := transport.Stats(); !s.Connected || s.Routes < 2 {
		t.Errorf("%+v", s)
	}
}

// TestWrongSecret: a node without the secret is not let in, and the attempt is logged.
func TestWrongSecret(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		var mu sync.Mutex
		var complaints []string
		log := func(line string) {
			mu.Lock()
			defer mu.Unlock()
			complaints = append(complaints, line)
		}
		a, transport := embed(t, EmbedOptions{Name: "a", Insecure: insecure, Log: log})
		b, _ := embed(t, EmbedOptions{Name: "b", Insecure: insecure, Routes: routeTo(transport), Secret: bytes.Repeat([]byte("x"), 32)})
		wait(t, "the refusal is logged", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(complaints) > 0
		})
		if up(a) > 0 || up(b) > 0 {
			t.Errorf("insecure %v: a node without the secret is in the cluster", insecure)
		}
	}
}

// TestServerRestarts: what is published while NATS is away arrives once it is
// back, in order.
// It takes 12 s or more: clients of NATS pause between attempts to reconnect.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	var nodes []*cluster.Node
	for _, name := range []string{"a", "b"} {
		transport, err := Connect("restart", s.URL())
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, start(t, name, transport))
	}
	wait(t, "both are up", func() bool { return up(nodes[0]) == 1 && up(nodes[1]) == 1 })
	var mu sync.Mutex
	var got []string
	from, to := nodes[0].Bus(""), nodes[1].Bus("")
	for bus, receive := range map[pubsub.Bus]func(string, []byte){
		from: func(string, []byte) {},
		to: func(_ string, data []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(data))
		},
	} {
		if err := bus.Open(receive); err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
	}
	to.Interest("topic", true)
	var want []string
	for i := range 300 {
		switch i {
		case 100:
			s.Stop()
		case 200:
			s.Restart()
		}
		want = append(want, fmt.Sprint(i))
		if err := from.Publish("topic", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "all messages arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) >= len(want)
	})
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v", got)
	}
}

// TestCloseWhileAway: a transport closes at once while NATS is away, and does not wait for an
// answer.
func TestCloseWhileAway(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	transport, err := Connect("away", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	wait(t, "the connection is lost", func() bool { return !transport.Stats().Connected })
	closed := time.Now()
	if err := transport.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(closed); took > 9*time.Second { // Flush waits for 10 s
		t.Errorf("closing took %v", took)
	}
}

func TestWrongOptions(t *testing.T) {
	right := EmbedOptions{Cluster: "test", Name: "a", Listen: "127.0.0.1:0", Secret: secret}
	for name, c := range map[string]struct {
		change func(o *EmbedOptions)
		want   string
	}{
		"cluster": {func(o *EmbedOptions) { o.Cluster = "a.b" }, `natscluster: cluster "a.b": want 1 to 64 letters, digits, _ and -`},
		"secret":  {func(o *EmbedOptions) { o.Secret = []byte("short") }, "natscluster: the secret has 5 bytes, want at least 32"},
		"listen":  {func(o *EmbedOptions) { o.Listen = "6222" }, `natscluster: listening at "6222": want HOST:PORT or :PORT`},
		"route":   {func(o *EmbedOptions) { o.Routes = []string{"node-2:6222"} }, `natscluster: route "node-2:6222": want nats://HOST:PORT`},
	} {
		o := right
		c.change(&o)
		if _, err := Embed(o); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := Connect("test", "nats://127.0.0.1:1"); err == nil {
		t.Error("connected to nothing")
	}
}
