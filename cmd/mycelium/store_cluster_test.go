package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/natsstore"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// sharing are three processes that have their instances in common.
type sharing struct {
	nodes []*node
	flags [][]string // of each
}

func startSharing(t *testing.T, flags ...string) *sharing {
	t.Helper()
	var routes, listens []string
	for range 3 {
		address := addrtest.Free(t)
		listens, routes = append(listens, "--cluster-listen="+address), append(routes, "nats://"+address)
	}
	common := slices.Concat(embedded(t)[1:], []string{"--cluster-instances=shared", "--cluster-size=3", "--cluster-routes=" + strings.Join(routes, ",")}, flags)
	s := new(sharing)
	for i, name := range []string{"a", "b", "c"} {
		s.flags = append(s.flags, slices.Concat(common, []string{listens[i], "--data=" + t.TempDir()}))
		s.nodes = append(s.nodes, beginNode(t, name, s.flags[i]...))
	}
	s.awaitReady(t)
	return s
}

// restartAll starts all of them after they have ended, with the disks that they had.
func (s *sharing) restartAll(t *testing.T) {
	t.Helper()
	for i, n := range s.nodes {
		s.nodes[i] = beginNode(t, n.name, s.flags[i]...)
	}
	s.awaitReady(t)
}

func (s *sharing) awaitReady(t *testing.T) {
	t.Helper()
	for _, n := range s.nodes {
		n.awaitListening(t)
	}
	for _, n := range s.nodes {
		n.awaitReady(t)
	}
}

func (n *node) awaitReady(t *testing.T) {
	t.Helper()
	wait(t, n.name+" is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
}

// restart starts one that has ended, with the disk that it had.
func (s *sharing) restart(t *testing.T, i int) {
	t.Helper()
	s.nodes[i] = startNode(t, s.nodes[i].name, s.flags[i]...)
}

// visitStore opens the store of the processes by a server among theirs.
func (s *sharing) visitStore(t *testing.T) *natsstore.Store {
	t.Helper()
	file, _ := strings.CutPrefix(s.flags[0][0], "--cluster-secret-file=")
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, n := range s.nodes {
		routes = append(routes, n.route)
	}
	transport, err := natscluster.Embed(natscluster.EmbedOptions{
		Cluster: "test", Name: "visitor", Listen: "127.0.0.1:0", Routes: routes, Secret: []byte(strings.TrimSpace(string(secret))),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	js, err := transport.OpenJetStream()
	if err != nil {
		t.Fatal(err)
	}
	store, err := natsstore.Open(t.Context(), js.Conn(), natsstore.Options{Bucket: bucketOf("test"), Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// TestClusterStore: what the store was given outlives each of three processes being killed and
// started again. While two are killed it refuses to write, and the third serves its clients.
// It takes half a minute: JetStream looks for a new leader after 4 to 9 s without one.
func TestClusterStore(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	store := s.visitStore(t)
	revisions := map[string]uint64{}
	put := func() {
		t.Helper()
		key := fmt.Sprint("state.", len(revisions))
		wait(t, "a write of "+key, func() bool {
			revision, err := store.Put(t.Context(), key, []byte(key), instances.AnyRevision)
			revisions[key] = revision
			return err == nil
		})
	}
	check := func(what string) {
		t.Helper()
		for key, revision := range revisions {
			wait(t, key+" "+what, func() bool {
				e, err := store.Get(t.Context(), key)
				return err == nil && e.Revision == revision && string(e.Value) == key
			})
		}
	}
	put()
	s.nodes[0].kill()
	put()
	check("without one")
	s.restart(t, 0)
	s.nodes[0].awaitReady(t) // then others may go
	check("after one was away")

	left := s.nodes[0]
	s.nodes[1].kill()
	s.nodes[2].kill()
	began := time.Now()
	if _, err := store.Put(t.Context(), "lost", nil, instances.AnyRevision); err == nil {
		t.Error("a minority has written")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("a minority took %s to refuse", took)
	}
	wait(t, "the metrics say so", func() bool { return strings.Contains(left.metrics(t), "mycelium_cluster_store_working 0\n") })
	wait(t, "the log says so", func() bool { return strings.Contains(left.log.String(), "the store of instances cannot be reached") })
	if status, text := left.ready(t); status != http.StatusOK {
		t.Errorf("not ready: %d %s", status, text)
	}
	ada, bob := joinAt(t, left, atDefault, "room:1"), joinAt(t, left, atDefault, "room:1")
	ada.say(t, 1)
	bob.hears(t, 1, 1)
	if status, text := left.call(t, http.MethodGet, "/api/instances/default/presence?topic=room:1", ""); status != http.StatusOK || strings.Count(text, "phx_ref") != 2 {
		t.Errorf("presence: %d %s", status, text)
	}

	for _, i := range []int{1, 2} {
		s.restart(t, i)
	}
	put()
	check("after two were away")
	wait(t, "the metrics say that it works", func() bool { return strings.Contains(left.metrics(t), "mycelium_cluster_store_working 1\n") })
	joinAt(t, s.nodes[1], atDefault, "room:1").say(t, 2)
	bob.hears(t, 2, 2)
	for _, n := range s.nodes {
		n.awaitReady(t)
		n.terminate(t)
	}
}
