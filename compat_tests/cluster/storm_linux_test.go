package cluster

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

var storm = flag.Int("storm", 0, "how many `clients` TestStorm has on the node that is killed: make storm")

const (
	stormRoom   = 100 // clients of a topic
	stormMissed = 100 // messages that each of them has missed
	stormProbes = 50  // clients that are not affected
	// stormMemory bounds what a client that catches up adds to the memory of its node, in
	// bytes: a page of its replay, and its connection.
	stormMemory = 128 << 10
)

// TestStorm kills one of three nodes, with all clients on it. When they come back to the
// other two, all at once, each is sent the messages that it has missed.
func TestStorm(t *testing.T) {
	if *storm == 0 {
		t.Skip("only with -storm: make storm")
	}
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	if err := os.WriteFile(config, []byte("history: {memory: 256MiB, rules: [{topics: ['room:*'], messages: 1000}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	raiseBacklog(t)
	nodes := startNodes(t, freePlaces(t, 3), "--config="+config, "--presence-off=*", "--idle-timeout=1h", "--limits-max-connections-per-address=0",
		"--limits-handshakes-per-second=0", "--limits-messages-per-second=0")
	dying, others := nodes[0], nodes[1:]

	probes := startProbes(t, others)
	crowd := make([]*wanderer, *storm)
	for i := range crowd {
		crowd[i] = &wanderer{topic: fmt.Sprintf("room:%d", i/stormRoom)}
	}
	visitAll(t, crowd, func(int) string { return dying.address }, 64, (*wanderer).settle)
	before, calm := memoryOf(t, others), probes.latencies()
	dying.signal(syscall.SIGKILL)
	dying.awaitEnd()
	publishMissed(t, others[0], (*storm+stormRoom-1)/stormRoom)

	probes.latencies() // those of the meantime
	begun := time.Now()
	visitAll(t, crowd, func(i int) string { return others[i%len(others)].address }, *storm, (*wanderer).catchUp)
	took, busy := time.Since(begun), probes.latencies()
	after := memoryOf(t, others)

	var each []time.Duration
	for _, w := range crowd {
		each = append(each, w.took)
	}
	t.Logf("%d clients, %d messages each: all are live %s after they came back; half %s, 99%% %s", *storm, stormMissed,
		took.Round(time.Millisecond), percentile(each, 50).Round(time.Millisecond), percentile(each, 99).Round(time.Millisecond))
	t.Logf("those not affected, p50 and p99: before %s, %s (%d messages); meanwhile %s, %s (%d)", percentile(calm, 50), percentile(calm, 99), len(calm),
		percentile(busy, 50), percentile(busy, 99), len(busy))
	for i, n := range others {
		grown := after[i] - before[i]
		t.Logf("%s: %d MiB before, at most %d MiB", n.name, before[i]>>20, after[i]>>20)
		if most := int64(*storm/len(others)) * stormMemory; grown > most+32<<20 {
			t.Errorf("%s has grown by %d MiB, want at most %d", n.name, grown>>20, (most+32<<20)>>20)
		}
	}
}

// wanderer is a client that keeps its last position.
type wanderer struct {
	topic string
	pos   string
	took  time.Duration // from when it came back until it was live
}

// visitAll has each client visit a node, at most so many at a time.
func visitAll(t *testing.T, crowd []*wanderer, address func(i int) string, atOnce int, visit func(w *wanderer, conn net.Conn) error) {
	t.Helper()
	var work sync.WaitGroup
	var failures atomic.Int64
	tokens, start := make(chan struct{}, atOnce), make(chan struct{})
	for i, w := range crowd {
		work.Go(func() {
			<-start
			tokens <- struct{}{}
			defer func() { <-tokens }()
			if err := w.dial(t, address(i), visit); err != nil && failures.Add(1) <= 10 {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	close(start)
	work.Wait()
	if n := failures.Load(); n > 0 {
		t.Fatalf("%d clients failed", n)
	}
}

// dial connects until a node accepts the client, which stays connected until the test
// ends or the node does.
func (w *wanderer) dial(t *testing.T, address string, visit func(w *wanderer, conn net.Conn) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begun := time.Now()
	conn, buffered, _, err := ws.Dial(ctx, "ws://"+address+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		return err
	}
	if buffered != nil { // nothing is sent before a join
		ws.PutReader(buffered)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	params := `{"history":{}}`
	if w.pos != "" {
		params = fmt.Sprintf(`{"history":{"after":%q}}`, w.pos)
	}
	if err := wsutil.WriteClientText(conn, fmt.Appendf(nil, `["1","1",%q,"phx_join",%s]`, w.topic, params)); err != nil {
		return err
	}
	err = visit(w, conn)
	w.took = time.Since(begun)
	return err
}

// settle waits for the position of a client that has just joined.
func (w *wanderer) settle(conn net.Conn) error {
	return w.read(conn, func(event string, payload []byte) (bool, error) { return event == "history_mark", nil })
}

// catchUp reads until the client has what it missed and the mark behind it.
func (w *wanderer) catchUp(conn net.Conn) error {
	next := 0
	return w.read(conn, func(event string, payload []byte) (bool, error) {
		switch event {
		case "history_state":
			if want := fmt.Sprintf(`{"recovered":true,"replayed":%d}`, stormMissed); string(payload) != want {
				return false, fmt.Errorf("%s, want %s", payload, want)
			}
		case "n":
			if want := fmt.Sprintf(`{"n":%d}`, next); string(payload) != want {
				return false, fmt.Errorf("%s, want %s", payload, want)
			}
			next++
		case "history_mark":
			if next < stormMissed {
				return false, fmt.Errorf("a mark after %d messages", next)
			}
			return true, nil
		}
		return false, nil
	})
}

// read reads until done returns true.
func (w *wanderer) read(conn net.Conn, done func(event string, payload []byte) (bool, error)) error {
	for {
		text, err := wsutil.ReadServerText(conn)
		if err != nil {
			return err
		}
		var v [5]json.RawMessage
		var event string
		if err := json.Unmarshal(text, &v); err != nil {
			return err
		}
		if err := json.Unmarshal(v[3], &event); err != nil {
			return err
		}
		if event == "history_mark" {
			var mark struct{ Pos string }
			if err := json.Unmarshal(v[4], &mark); err != nil {
				return err
			}
			w.pos = mark.Pos
		}
		if over, err := done(event, v[4]); over || err != nil {
			return err
		}
	}
}

// publishMissed publishes the messages that clients of so many rooms miss.
func publishMissed(t *testing.T, n *node, rooms int) {
	t.Helper()
	conn := mustDial(t, n)
	for room := range rooms {
		topic := fmt.Sprintf("room:%d", room)
		write(t, conn, fmt.Sprintf(`["1","join",%q,"phx_join",{}]`, topic))
		for i := range stormMissed {
			write(t, conn, fmt.Sprintf(`["1","n%d",%q,"n",{"n":%d}]`, i, topic, i))
		}
		last := fmt.Sprintf(`"n%d"`, stormMissed-1)
		for {
			conn.SetReadDeadline(time.Now().Add(patience))
			text, err := wsutil.ReadServerText(conn)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), last) && strings.Contains(string(text), `"ok"`) {
				break
			}
		}
		write(t, conn, fmt.Sprintf(`["1","leave",%q,"phx_leave",{}]`, topic))
	}
}

func mustDial(t *testing.T, n *node) net.Conn {
	t.Helper()
	conn, buffered, _, err := ws.Dial(t.Context(), "ws://"+n.address+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if buffered != nil {
		ws.PutReader(buffered)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// probes are clients that are not affected, and how long messages take to reach them.
type probes struct {
	mu   sync.Mutex
	took []time.Duration // guarded by mu
}

// startProbes starts clients on the nodes, and one that publishes a hundred times a
// second, on a topic of their own.
func startProbes(t *testing.T, nodes []*node) *probes {
	t.Helper()
	p := &probes{}
	var work sync.WaitGroup
	quit := make(chan struct{})
	var conns []net.Conn
	for i := range stormProbes {
		conn := mustDial(t, nodes[i%len(nodes)])
		write(t, conn, `["1","1","room:probe","phx_join",{}]`)
		if _, err := wsutil.ReadServerText(conn); err != nil { // the ok
			t.Fatal(err)
		}
		conns = append(conns, conn)
		work.Go(func() { p.listen(conn) })
	}
	publisher := mustDial(t, nodes[0])
	write(t, publisher, `["1","1","room:probe","phx_join",{}]`)
	work.Go(func() { p.listen(publisher) })
	work.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(10 * time.Millisecond):
			}
			text := fmt.Sprintf(`["1","2","room:probe","at",{"at":%d}]`, time.Now().UnixNano())
			if wsutil.WriteClientText(publisher, []byte(text)) != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		close(quit)
		for _, conn := range append(conns, publisher) {
			conn.Close()
		}
		work.Wait()
	})
	wait(t, "messages arrive", func() bool { return len(p.latencies()) > 0 })
	time.Sleep(2 * time.Second) // which are the calm before the storm
	return p
}

// listen notes how long messages have taken until the connection ends.
func (p *probes) listen(conn net.Conn) {
	for {
		text, err := wsutil.ReadServerText(conn)
		if err != nil {
			return
		}
		_, rest, found := strings.Cut(string(text), `{"at":`)
		var at int64
		if _, err := fmt.Sscan(strings.TrimSuffix(rest, "}]"), &at); !found || err != nil {
			continue
		}
		took := time.Duration(time.Now().UnixNano() - at)
		p.mu.Lock()
		p.took = append(p.took, took)
		p.mu.Unlock()
	}
}

// latencies returns what was noted since the last call.
func (p *probes) latencies() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.took
	p.took = nil
	return list
}

func percentile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, len(list)*percent/100)]
}

// memoryOf returns the most memory that each node has used so far, in bytes.
func memoryOf(t *testing.T, nodes []*node) (most []int64) {
	t.Helper()
	for _, n := range nodes {
		n.mu.Lock()
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process.Process.Pid))
		n.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "VmHWM:")
		var kib int64
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			t.Fatal(err)
		}
		most = append(most, kib<<10)
	}
	return most
}
