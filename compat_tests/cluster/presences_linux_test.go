package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// TestPresences: very many presences of clients on two of three nodes are known on
// all of them soon after the last has joined; those of a node that is killed are gone
// within 8 s, and nobody is cut off by what that takes.
func TestPresences(t *testing.T) {
	needsTrial(t)
	holders, perSocket, topics := 200, 20, 40
	if *long {
		holders, topics = 5000, 1000
	}
	places, scrape := freePlaces(t, 3), make([]string, 3)
	for i := range places {
		scrape[i] = addrtest.Free(t)
		places[i].args = []string{"--metrics-listen=" + scrape[i], "--metrics-allow=127.0.0.1"}
	}
	nodes := startNodes(t, places, "--presence-window=500ms", "--limits-max-channels=100")
	watchers := startCrowd(t, nodes, 30, 1, pace{time.Hour, 1}) // ten on each node, each in a topic of its own
	before := nodes[2].resident()
	h := &holding{t: t, nodes: nodes[:2]}
	defer h.end()
	begun := time.Now()
	h.start(holders, perSocket, topics)
	storm := time.Since(begun)
	all := float64(holders*perSocket + 30)
	keys := func(i int) float64 { return metric(t, scrape[i], "mycelium_presence_keys") }
	begun = time.Now()
	wait(t, "all nodes know all presences", func() bool { return keys(0) == all && keys(1) == all && keys(2) == all })
	known, each := time.Since(begun), (nodes[2].resident()-before)/(holders*perSocket)
	t.Logf("%d presences joined in %s; all nodes know them %s later", holders*perSocket, storm.Round(time.Millisecond), known.Round(time.Millisecond))
	t.Logf("a presence of another node takes %d bytes of resident memory", each)
	if *long && (known > 2*time.Second || each > 450) { // else the machine may have other work, and the runtime's memory counts
		t.Errorf("known after %s, with %d bytes each, want 2s and 450", known, each)
	}

	joins := watchers.rejoined.Load()
	nodes[0].signal(syscall.SIGKILL)
	begun = time.Now()
	left := float64(holders*perSocket/2 + 20)
	wait(t, "the presences of the killed node are gone", func() bool { return keys(1) <= left+10 && keys(2) <= left+10 })
	gone := time.Since(begun)
	t.Logf("those of a killed node are gone after %s", gone.Round(time.Millisecond))
	if *long && gone > 8*time.Second { // else the machine may have other work
		t.Errorf("those of a killed node are gone after %s, want 8s", gone)
	}
	if back := watchers.rejoined.Load() - joins; back > 10 {
		t.Errorf("%d clients joined again, of whom 10 were on the killed node", back)
	}
	if n := h.closed.Load(); n > int64(holders/2) {
		t.Errorf("%d clients were cut off, of whom %d were on the killed node", n, holders/2)
	}
}

// holding is clients that join topics and then only listen.
type holding struct {
	t      *testing.T
	nodes  []*node
	work   sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
	joined atomic.Int64
	closed atomic.Int64
}

// start connects n clients, half to each node, and joins each to so many topics.
func (h *holding) start(n, each, topics int) {
	h.t.Helper()
	slots := make(chan struct{}, 50)
	for i := range n {
		slots <- struct{}{}
		h.work.Go(func() { h.hold(i, each, topics, func() { <-slots }) })
	}
	wait(h.t, "all have joined", func() bool { return h.joined.Load() == int64(n*each) })
}

func (h *holding) hold(i, each, topics int, joined func()) {
	defer h.closed.Add(1)
	conn, _, _, err := ws.Dial(context.Background(), "ws://"+h.nodes[i%len(h.nodes)].address+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		h.t.Error(err)
		joined()
		return
	}
	defer conn.Close()
	h.mu.Lock()
	h.conns = append(h.conns, conn)
	h.mu.Unlock()
	for k := range each {
		topic := fmt.Sprint("room:held-", (i*each+k)%topics)
		join := fmt.Sprintf(`["%d","%d",%q,"phx_join",{"user":"holder-%d"}]`, k, k, topic, i)
		if err := wsutil.WriteClientText(conn, []byte(join)); err != nil {
			h.t.Error(err)
		}
	}
	mine := 0
	var buf bytes.Buffer
	for {
		header, err := ws.ReadHeader(conn)
		if err != nil || header.OpCode == ws.OpClose {
			return
		}
		buf.Reset()
		if _, err := io.CopyN(&buf, conn, header.Length); err != nil {
			return
		}
		if mine < each && bytes.Contains(buf.Bytes(), []byte(`"phx_reply"`)) {
			if !bytes.Contains(buf.Bytes(), []byte(`"ok"`)) {
				h.t.Errorf("a join was answered with %.200s", buf.Bytes())
			}
			h.joined.Add(1)
			if mine++; mine == each {
				joined()
			}
		}
	}
}

func (h *holding) end() {
	h.mu.Lock()
	for _, conn := range h.conns {
		conn.Close()
	}
	h.mu.Unlock()
	h.work.Wait()
}

// metric returns the sum of a metric over its labels.
func metric(t *testing.T, address, name string) (sum float64) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return -1
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v", answer.Status, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name); found && (rest[0] == '{' || rest[0] == ' ') {
			fields := strings.Fields(rest)
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// resident returns the resident memory of the process in bytes.
func (n *node) resident() int {
	n.t.Helper()
	return residentOf(n.t, strconv.Itoa(n.process.Process.Pid))
}
