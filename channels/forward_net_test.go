package channels_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/hooks"
)

// fleet is a set of endpoints that forward clients to each other.
type fleet struct {
	mu    sync.Mutex
	nodes []*fleetNode // guarded by mu while the fleet is started
}

// fleetNode is one of them. Its id is its index plus one.
type fleetNode struct {
	*server
	node    *forward.Node
	address string
	gone    atomic.Bool // the others do not hear it
}

// joinFleet starts n endpoints of a fleet, each with long polling at /socket.
func joinFleet(t testing.TB, n int, insecure bool, o channels.Options, so channels.SocketOptions, chs func() []*channels.Channel) *fleet {
	f := new(fleet)
	for i := range n {
		one := f.start(t, i, insecure, o, so, chs())
		f.mu.Lock()
		f.nodes = append(f.nodes, one)
		f.mu.Unlock()
	}
	return f
}

func (f *fleet) start(t testing.TB, i int, insecure bool, o channels.Options, so channels.SocketOptions, chs []*channels.Channel) *fleetNode {
	t.Helper()
	leaks.Watch(t)
	o.Drain = quickDrain
	e, err := channels.NewEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	e.Socket("/socket", so, chs...)
	n := &fleetNode{}
	if n.node, err = forward.New(forward.Options{
		Name: fmt.Sprint("node-", i), Secret: bytes.Repeat([]byte{7}, 32), Insecure: insecure, Find: f.find,
	}); err != nil {
		t.Fatal(err)
	}
	l, err := n.node.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = l.Addr().String()
	if err := hooks.ServeForwarded(e, n.node, uint64(i+1), l); err != nil {
		t.Fatal(err)
	}
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.server = &server{e, addr.String()}
	t.Cleanup(func() { n.stop(t) })
	return n
}

// stop may be called more than once.
func (n *fleetNode) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	n.node.Close()
}

func (f *fleet) find(id uint64) (name, address string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == 0 || id > uint64(len(f.nodes)) || f.nodes[id-1].gone.Load() {
		return "", "", false
	}
	return fmt.Sprint("node-", id), f.nodes[id-1].address, true
}

// elsewhere returns the error of a lookup at n for what other serves.
func (n *fleetNode) elsewhere(other *fleetNode) error {
	return n.node.Elsewhere("other", other.address)
}

// ServeHTTP has each request served by another node.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if err := recover(); err != nil && err != http.ErrAbortHandler { //nolint:errorlint // as net/http does
			panic(err)
		}
	}()
	f.nodes[rand.IntN(len(f.nodes))].ServeHTTP(w, r)
}

// eachFleet runs a test on three nodes with TLS between them, and without.
func eachFleet(t *testing.T, so channels.SocketOptions, test func(t *testing.T, f *fleet), chs func() []*channels.Channel) {
	for _, insecure := range []bool{false, true} {
		t.Run(map[bool]string{false: "TLS", true: "insecure"}[insecure], func(t *testing.T) {
			test(t, joinFleet(t, 3, insecure, channels.Options{Loops: 2}, so, chs))
		})
	}
}

// TestFleetPolls: each request of a session goes to some node, polls fail and overlap,
// and every message arrives once, in order.
func TestFleetPolls(t *testing.T) {
	eachFleet(t, channels.SocketOptions{LongPoll: longPolling}, func(t *testing.T, f *fleet) {
		var sessions sync.WaitGroup
		for range 4 {
			sessions.Go(func() { onceInOrder(t, f) })
		}
		sessions.Wait()
		var sent, received uint64
		for _, n := range f.nodes {
			s := n.node.Stats()
			sent, received = sent+s.Requests, received+s.ReceivedRequests
			if s.Failures > 0 {
				t.Errorf("%+v", s)
			}
		}
		if sent == 0 || received == 0 {
			t.Errorf("%d requests were forwarded, and %d received", sent, received)
		}
	}, rooms)
}

// TestFleetPollsOverNetwork: the same over real connections, which are reused.
func TestFleetPollsOverNetwork(t *testing.T) {
	eachFleet(t, channels.SocketOptions{LongPoll: longPolling}, func(t *testing.T, f *fleet) {
		c := f.nodes[0].polls(t)
		turns := atomic.Int64{}
		client := c.do
		c.do = func(r *http.Request) (*http.Response, error) {
			r.URL.Host = f.nodes[turns.Add(1)%3].addr
			return client(r)
		}
		c.join("quiet:1")
		const messages = 1000
		for i := range messages {
			c.post(fmt.Sprintf(`["1","%d","quiet:1","echo",{}]`, i))
			if i%10 == 9 {
				for j := i - 9; j <= i; j++ {
					c.assertNext("1", strconv.Itoa(j), "quiet:1", "phx_reply", "ok {}")
				}
			}
		}
		large := strings.Repeat("x", 700_000)
		c.post(`["1","large","quiet:1","echo",{"x":"` + large + `"}]`)
		c.assertNext("1", "large", "quiet:1", "phx_reply", `ok {"x":"`+large+`"}`)
		if err := f.nodes[0].Broadcast("quiet:1", "large", map[string]string{"x": large}); err != nil {
			t.Fatal(err)
		}
		c.assertNext("", "", "quiet:1", "large", `{"x":"`+large+`"}`)
	}, rooms)
}

// TestFleetNodeGone: whether a session's node is known to be dead or only does not
// answer, its client opens another session.
func TestFleetNodeGone(t *testing.T) {
	eachFleet(t, channels.SocketOptions{LongPoll: longPolling}, func(t *testing.T, f *fleet) {
		for _, known := range []bool{true, false} {
			home := f.nodes[map[bool]int{true: 2, false: 1}[known]]
			c := home.polls(t)
			c.base = "http://" + f.nodes[0].addr
			c.join("quiet:1")
			home.gone.Store(known)
			home.stop(t)
			if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.http != 200 || a.raw != `{"status":410}` {
				t.Errorf("a post: %d %s", a.http, a.raw)
			}
			a := c.must("GET", "", nil)
			if a.http != 200 || a.Status != 410 || a.Token == nil || *a.Token == c.token {
				t.Fatalf("a poll: %d %s", a.http, a.raw)
			}
			c.token = *a.Token
			c.join("quiet:2")
		}
	}, rooms)
}

// TestFleetPollGivenUp: a client that closes the connection of a poll at the relaying
// node is gone at the node of its session.
func TestFleetPollGivenUp(t *testing.T) {
	o := longPolling
	o.Grace = 100 * time.Millisecond
	eachFleet(t, channels.SocketOptions{LongPoll: o}, func(t *testing.T, f *fleet) {
		c := f.nodes[0].polls(t)
		c.base = "http://" + f.nodes[1].addr
		c.join("quiet:1")
		ctx, cancel := context.WithCancel(context.Background())
		answers := c.waiting(ctx)
		cancel()
		<-answers
		waitFor(t, "the end of the session", func() bool {
			st := f.nodes[0].Stats()
			return st.LongPoll.Sessions == 0 && st.LongPoll.Expired == 1 && st.Channels == 0
		})
	}, rooms)
}

// TestFleetForeignFields: header fields of nodes have no effect when a client sends them.
func TestFleetForeignFields(t *testing.T) {
	so := channels.SocketOptions{LongPoll: longPolling}
	f := joinFleet(t, 2, false, channels.Options{}, so, rooms)
	c := f.nodes[0].polls(t)
	c.join("quiet:1")
	c.post(`["1","2","quiet:1","echo",{}]`)
	forged := http.Header{"X-Mycelium-Receipt": {"1"}, "X-Mycelium-Forwarded": {"1 192.0.2.9:1 https - AAAA"}}
	a := c.must("GET", "", forged)
	if list, err := a.envelopes(); err != nil || len(list) != 1 || list[0].ref != "2" || a.header.Get("X-Mycelium-Receipt") != "" {
		t.Errorf("a poll with fields of nodes: %v %s", err, a.raw)
	}
	conn, err := net.Dial("tcp", f.nodes[1].address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket/longpoll HTTP/1.1\r\nHost: a\r\n\r\n") // where TLS is spoken
	conn.SetReadDeadline(time.Now().Add(patience))
	if answer, _ := readAll(conn); bytes.Contains(answer, []byte("HTTP/1.1 200")) {
		t.Errorf("a client was served on the port of nodes: %q", answer)
	}
}

func readAll(c net.Conn) ([]byte, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(c)
	return b.Bytes(), err
}
