package compat_tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestTranscriptsBesideLoad replays the recordings against a node of a cluster while
// clients of another node publish. It takes seconds: recorded clients wait.
func TestTranscriptsBesideLoad(t *testing.T) {
	t.Parallel()
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	nodes := make(chan *loadedNode, pairs)
	for range pairs {
		nodes <- startPair(t)
	}
	for i, s := range scenarios {
		if !*whole && i%8 != 0 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			n := <-nodes
			defer func() { nodes <- n }()
			before := n.heard.Load()
			replay(t, n.app, s)
			waittest.For(t, "messages of the other node", func() bool { return n.heard.Load() > before })
		})
	}
}

// pairs is how many clusters of two nodes the scenarios are divided among.
const pairs = 3

// loadedNode is a node under test, in a cluster with one that has load.
type loadedNode struct {
	app   *child.Process
	heard atomic.Int64 // messages of the load that a client of this node has received
}

// startPair starts two nodes, and 500 messages a second on the first. It returns the second.
func startPair(t *testing.T) *loadedNode {
	t.Helper()
	peers := addrtest.Free(t)
	other := startLabapp(t, "-cluster-listen", peers)
	startLoad(t, other.Addr)
	n := &loadedNode{app: startLabapp(t, "-cluster-route", peers)}
	conn, _, _, err := ws.Dial(testContext(t), "ws://"+n.app.Addr+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := wsutil.WriteClientText(conn, []byte(`["1","1","echo:load-0","phx_join",{}]`)); err != nil {
		t.Fatal(err)
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			text, err := wsutil.ReadServerText(conn)
			switch {
			case err != nil:
				return
			case bytes.Contains(text, []byte(`"shout"`)):
				n.heard.Add(1)
			}
		}
	})
	beat := time.NewTicker(20 * time.Second) // or the server ends the connection as idle
	ended := make(chan struct{})
	listening.Go(func() {
		for {
			select {
			case <-beat.C:
				wsutil.WriteClientText(conn, []byte(`[null,"2","phoenix","heartbeat",{}]`))
			case <-ended:
				return
			}
		}
	})
	t.Cleanup(func() {
		beat.Stop()
		close(ended)
		conn.Close()
		listening.Wait()
	})
	waittest.For(t, "messages of the other node", func() bool { return n.heard.Load() > 0 })
	return n
}

// startLoad starts clients that publish, until the test ends.
func startLoad(t *testing.T, addr string) {
	t.Helper()
	bin, err := buildBench()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	load := exec.CommandContext(ctx, bin, "bench", "broadcast", "ws://"+addr+"/socket", "-c", "20", "--topics", "5",
		"--topic", "echo:load-{n}", "--event", "shout", "--rate", "500", "--duration", "1h")
	out := new(child.Tail)
	load.Stdout, load.Stderr = out, out
	load.WaitDelay = child.EndTimeout
	load.Cancel = func() error { return load.Process.Signal(os.Interrupt) }
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		load.Wait() // an interrupted run is an error
		if t.Failed() {
			t.Logf("the load ends with\n%s", out)
		}
	})
}

// buildBench builds the load generator once, without the race detector.
var buildBench = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) }) // a temporary folder
	bin := filepath.Join(dir, "mycelium")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/mycelium").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})
