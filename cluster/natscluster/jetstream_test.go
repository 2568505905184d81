package natscluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// stateful is a node whose server keeps streams.
type stateful struct {
	options   EmbedOptions
	transport *Transport
}

// statefulCluster starts n nodes at addresses that stay the same.
func statefulCluster(t *testing.T, n int) []*stateful {
	t.Helper()
	var nodes []*stateful
	var routes []string
	for i := range n {
		address := addrtest.Free(t)
		routes = append(routes, "nats://"+address)
		nodes = append(nodes, &stateful{options: EmbedOptions{
			Cluster: "test", Name: fmt.Sprint("node-", i), Listen: address, Secret: secret, StoreDir: t.TempDir(), Size: n,
		}})
	}
	for _, s := range nodes {
		s.options.Routes = routes
		s.start(t)
	}
	return nodes
}

func (s *stateful) start(t *testing.T) {
	t.Helper()
	var err error
	if s.transport, err = Embed(s.options); err != nil {
		t.Fatal(err)
	}
	transport := s.transport
	t.Cleanup(func() { transport.Close() })
}

func (s *stateful) stop(t *testing.T) {
	t.Helper()
	if err := s.transport.Close(); err != nil {
		t.Fatal(err)
	}
}

// bucket opens the key-value bucket of the test through a node, once its JetStream works.
func (s *stateful) bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	js, err := s.transport.OpenJetStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(js.Conn().Close)
	var kv jetstream.KeyValue
	wait(t, "the bucket is open", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if kv, err = js.KeyValue(ctx, "bucket"); errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "bucket", Replicas: s.transport.Replicas()})
		}
		return err == nil
	})
	return kv
}

func mustPut(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// assertKey waits until a node has a key. After a change of leaders that takes a while.
func assertKey(t *testing.T, kv jetstream.KeyValue, key, want string) {
	t.Helper()
	wait(t, key+" is read", func() bool {
		e, err := kv.Get(t.Context(), key)
		return err == nil && string(e.Value()) == want
	})
}

// TestJetStream: of three nodes one may be away, and come back with its disk or without. With
// two away requests fail in bounded time; when one is back they succeed again.
func TestJetStream(t *testing.T) {
	t.Parallel()
	nodes := statefulCluster(t, 3)
	first, second := nodes[0].bucket(t), nodes[1].bucket(t)
	large := strings.Repeat("x", 1<<20)
	mustPut(t, first, "large", large)
	assertKey(t, second, "large", large)

	nodes[2].stop(t)
	wait(t, "a write without the third node", func() bool {
		_, err := first.PutString(t.Context(), "key", "one")
		return err == nil
	})
	nodes[2].start(t)
	assertKey(t, nodes[2].bucket(t), "key", "one")

	nodes[2].stop(t)
	nodes[1].stop(t)
	start := time.Now()
	if _, err := first.PutString(t.Context(), "key", "lost"); err == nil {
		t.Error("a write without a majority succeeded")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("a write without a majority took %s to fail", took)
	}
	if err := os.RemoveAll(nodes[1].options.StoreDir); err != nil {
		t.Fatal(err)
	}
	nodes[2].start(t)
	nodes[1].start(t) // its disk is gone
	assertKey(t, nodes[1].bucket(t), "large", large)
	assertKey(t, nodes[2].bucket(t), "large", large)
	wait(t, "the node has everything again", func() bool { return nodes[1].transport.JetStreamHealth() == nil })
	nodes[0].stop(t) // what is left are the two that were away
	third := nodes[2].bucket(t)
	wait(t, "a write by the other two", func() bool {
		_, err := third.PutString(t.Context(), "key", "two")
		return err == nil
	})
	assertKey(t, nodes[1].bucket(t), "key", "two")
}

// TestJetStreamAlone: a single node needs no port, and keeps what it was told.
func TestJetStreamAlone(t *testing.T) {
	t.Parallel()
	s := &stateful{options: EmbedOptions{Cluster: "test", Name: "alone", StoreDir: t.TempDir()}}
	s.start(t)
	mustPut(t, s.bucket(t), "key", "value")
	if _, err := Embed(s.options); err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("a second server in the same directory: %v", err)
	}
	s.stop(t)
	s.start(t)
	assertKey(t, s.bucket(t), "key", "value")
}

// TestOneRoute: nodes that only know one address of the others form one group.
func TestOneRoute(t *testing.T) {
	t.Parallel()
	nodes := statefulCluster(t, 3)
	for _, s := range nodes {
		s.stop(t)
		s.options.Routes, s.options.StoreDir = nodes[0].options.Routes[:1], t.TempDir()
	}
	for _, s := range nodes {
		s.start(t)
	}
	mustPut(t, nodes[0].bucket(t), "key", "value")
	assertKey(t, nodes[1].bucket(t), "key", "value")
	assertKey(t, nodes[2].bucket(t), "key", "value")
}

// TestNameTaken: a node that keeps streams does not start while another has its name.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	for _, insecure := range []bool{false, true} {
		var complaints atomic.Pointer[string]
		s := &stateful{options: EmbedOptions{
			Cluster: "test", Name: "a", Listen: "127.0.0.1:0", Secret: secret, StoreDir: t.TempDir(), Size: 2, Insecure: insecure,
			Routes: []string{"nats://127.0.0.1:1"}, Log: func(line string) {
				if !strings.Contains(line, "127.0.0.1:1:") && !strings.Contains(line, "Waiting for routing") && !strings.Contains(line, "meta leader") {
					complaints.Store(&line)
				}
			},
		}}
		s.start(t)
		other := s.options
		other.Routes, other.StoreDir, other.Log = append(routeTo(s.transport), other.Routes...), t.TempDir(), nil
		want := fmt.Sprintf("natscluster: another node is called %q, at %s: give each node a name of its own", "a", s.transport.RouteAddr())
		if _, err := Embed(other); err == nil || err.Error() != want {
			t.Errorf("insecure %v: %v, want %s", insecure, err, want)
		}
		if line := complaints.Load(); line != nil {
			t.Errorf("insecure %v: the older logs %s", insecure, *line)
		}
		s.stop(t)
		free, err := Embed(other)
		if err != nil {
			t.Fatal(err)
		}
		free.Close()
	}
}

// TestRemovePeer: a node that is gone for good is forgotten, and another one takes its place.
func TestRemovePeer(t *testing.T) {
	t.Parallel()
	nodes := statefulCluster(t, 4)
	mustPut(t, nodes[0].bucket(t), "key", "value")
	if got, want := peerID("node-0"), nodes[0].transport.server.server.Node(); got != want || want == "" {
		t.Errorf("the identifier of node-0 is %q, want %q", got, want)
	}
	visitor := EmbedOptions{Cluster: "test", Name: "visitor", Listen: "127.0.0.1:0", Routes: nodes[0].options.Routes, Secret: secret}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := RemovePeer(ctx, visitor, "nobody"); !errors.Is(err, ErrNoPeer) {
		t.Errorf("%v, want ErrNoPeer", err)
	}
	keepers := func() Keepers {
		k, _ := nodes[0].transport.Keepers(ctx, "bucket")
		return k
	}
	var gone *stateful
	wait(t, "three nodes keep the bucket", func() bool { return len(keepers().Current) == 3 })
	for i, s := range nodes[1:] {
		if slices.Contains(keepers().Current, s.options.Name) {
			gone = nodes[i+1]
		}
	}
	gone.stop(t)
	if err := RemovePeer(ctx, visitor, gone.options.Name); err != nil {
		t.Fatal(err)
	}
	wait(t, "three others keep the bucket", func() bool {
		k := keepers()
		return len(k.Current) == 3 && !slices.Contains(k.Current, gone.options.Name)
	})
	if err := RemovePeer(ctx, visitor, gone.options.Name); !errors.Is(err, ErrNoPeer) {
		t.Errorf("removed twice: %v", err)
	}
}
