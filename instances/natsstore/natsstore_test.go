package natsstore_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/natsstore"
	"github.com/mycelium-rt/mycelium/instances/storetest"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

func TestMain(m *testing.M) {
	if isWorker() { // a process of TestTakeoverProcesses
		os.Exit(work())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for a condition on a loaded machine.
const patience = 2 * time.Minute

// serve starts n servers with JetStream, which form one cluster.
func serve(t *testing.T, n int) []*server.Server {
	t.Helper()
	var servers []*server.Server
	for _, o := range optionsOf(t, n) {
		servers = append(servers, startServer(t, o))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(patience) {
			t.Fatal("the NATS server is not ready")
		}
	}
	return servers
}

// optionsOf returns the options of n servers. They do not tell clients about each other.
func optionsOf(t *testing.T, n int) []*server.Options {
	t.Helper()
	var all []*server.Options
	var routes []*url.URL
	for range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: addrtest.Free(t)})
	}
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprint("server-", i), Host: "127.0.0.1", Port: mustPort(t, &url.URL{Host: addrtest.Free(t)}), NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: 2 << 20,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: mustPort(t, routes[i]), NoAdvertise: true}
			o.Routes = routes
		}
		all = append(all, o)
	}
	return all
}

// startServer starts a server, which ends with the test.
func startServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o.Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func mustPort(t *testing.T, u *url.URL) (port int) {
	t.Helper()
	if _, err := fmt.Sscan(u.Port(), &port); err != nil {
		t.Fatal(err)
	}
	return port
}

// open opens a bucket through a server.
func open(t *testing.T, s *server.Server, o natsstore.Options) *natsstore.Store {
	t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	store, err := natsstore.Open(ctx, conn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func TestStore(t *testing.T) {
	one := serve(t, 1)[0]
	n := 0
	storetest.Run(t, func(t *testing.T) instances.Store {
		n++
		return open(t, one, natsstore.Options{Bucket: fmt.Sprint("test-", n)})
	})
	storetest.RunShared(t, func(t *testing.T) (a, b instances.SharedStore) {
		n++
		o := natsstore.Options{Bucket: fmt.Sprint("test-", n)}
		return open(t, one, o), open(t, one, o)
	})
	storetest.Reopen(t, func() instances.Store { return open(t, one, natsstore.Options{}) })
}

// TestReplicated checks that what is written through one of three servers can be
// read through the others at once, and that nothing is lost with a server.
func TestReplicated(t *testing.T) {
	servers := serve(t, 3)
	first := open(t, servers[0], natsstore.Options{Replicas: 3})
	second := open(t, servers[1], natsstore.Options{Replicas: 3})
	last := map[string]uint64{}
	for i := range 50 {
		key := fmt.Sprint("spec.", i%10)
		next, err := first.Put(t.Context(), key, fmt.Append(nil, i), last[key])
		if err != nil {
			t.Fatal(err)
		}
		last[key] = next
		if e, err := second.Get(t.Context(), key); err != nil || e.Revision != next || string(e.Value) != fmt.Sprint(i) {
			t.Fatalf("the other node reads %+v, %v, want %d at %d", e, err, i, next)
		}
	}
	servers[0].Shutdown()
	servers[0].WaitForShutdown()
	deadline := time.Now().Add(patience)
	for {
		list, err := second.List(t.Context(), "spec.")
		if err == nil {
			if len(list) != len(last) {
				t.Errorf("%d keys after the loss of a server, want %d", len(list), len(last))
			}
			for _, e := range list {
				if e.Revision != last[e.Key] {
					t.Errorf("%s is at %d, want %d", e.Key, e.Revision, last[e.Key])
				}
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // a new leader is being elected
	}
}

// TestOpenErrors checks that Open says why a server cannot be used.
func TestOpenErrors(t *testing.T) {
	small, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	small.Start()
	defer func() { small.Shutdown(); small.WaitForShutdown() }()
	if !small.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	conn, err := nats.Connect(small.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	const want = "natsstore: bucket mycelium_instances: the NATS server's max_payload is 1048576 bytes, want at least 1052672"
	if _, err := natsstore.Open(t.Context(), conn, natsstore.Options{}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if !conn.IsClosed() {
		t.Error("the connection was left open")
	}
}

// TestWatchOfAClosedStore: a watch that outlives its store ends with an error, not with a
// change of no key.
func TestWatchOfAClosedStore(t *testing.T) {
	store := open(t, serve(t, 1)[0], natsstore.Options{})
	var last error
	for change, err := range store.Watch(t.Context(), "") {
		if err == nil && !change.Current {
			t.Fatalf("a change of %q in an empty bucket", change.Entry.Key)
		}
		if last = err; change.Current {
			store.Close()
		}
	}
	if last == nil {
		t.Error("the watch has ended without an error")
	}
}
