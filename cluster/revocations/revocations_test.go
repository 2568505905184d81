package revocations

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a node with revocations.
type server struct {
	port *hubtest.Port[cluster.LogID]
	node *cluster.Node
	list *auth.Revocations
}

func start(t *testing.T, h *hubtest.Hub[cluster.LogID], name string, list *auth.Revocations) *server {
	t.Helper()
	s := &server{port: h.Port(), list: list}
	k := New(list)
	var err error
	s.node, err = cluster.Start(s.port, cluster.SystemClock(), cluster.Options{Name: name, Kinds: k.Types(), Limits: cluster.Limits{Packet: 2048}})
	if err != nil {
		t.Fatal(err)
	}
	k.Start(s.node)
	return s
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.node.Close(); err != nil {
		t.Error(err)
	}
	if err := s.list.Close(); err != nil {
		t.Error(err)
	}
}

func open(t *testing.T) *auth.Revocations {
	t.Helper()
	list, err := auth.OpenRevocations(auth.RevocationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (s *server) revoke(t *testing.T, id string) {
	t.Helper()
	if _, err := s.list.Revoke("a", auth.Revocation{ID: id, Expires: time.Now().Add(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

func assertCount(t *testing.T, what string, want int, servers ...*server) {
	t.Helper()
	for i, s := range servers {
		if got := len(s.list.All()); got != want {
			t.Errorf("%s: node %d has %d revocations, want %d", what, i, got, want)
		}
	}
}

// Every node has all revocations: those that are made while it is there, those of before,
// those that it has missed, and those of nodes that are gone.
func TestEveryNodeHasAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New[cluster.LogID]()
		kept := open(t)
		if _, err := kept.Revoke("b", auth.Revocation{User: "ada", IssuedBefore: time.Now(), Expires: time.Now().Add(24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		a, b := start(t, h, "a", kept), start(t, h, "b", open(t))
		time.Sleep(5 * time.Second)
		assertCount(t, "from a file", 1, a, b)
		a.revoke(t, "1")
		time.Sleep(time.Second / 2)
		assertCount(t, "revoked by another node", 2, a, b)

		for i := range 200 { // a snapshot of several parts
			b.revoke(t, fmt.Sprint("many-", i))
		}
		time.Sleep(30 * time.Second) // b no longer keeps the entries
		c := start(t, h, "c", open(t))
		time.Sleep(10 * time.Second)
		assertCount(t, "a node that joins later", 202, a, b, c)

		c.port.SetDeaf(true)
		c.port.SetMute(true)
		b.revoke(t, "while c was cut off")
		time.Sleep(5 * time.Second)
		b.stop(t) // c never hears of it from b
		time.Sleep(2 * time.Minute)
		a.revoke(t, "the same")
		assertCount(t, "a node that is cut off", 202, c)
		assertCount(t, "meanwhile", 204, a)
		c.port.SetDeaf(false)
		c.port.SetMute(false)
		time.Sleep(30 * time.Second)
		assertCount(t, "after the cut", 204, a, c)
		a.stop(t)
		c.stop(t)
	})
}
