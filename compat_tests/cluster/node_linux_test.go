package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// node is a server of the cluster: one process after the other under the same
// name and addresses.
type node struct {
	t       *testing.T
	name    string
	address string   // of its clients, as this process reaches it
	command []string // what starts it
	ready   atomic.Bool
	ended   chan struct{} // the process has ended
	stop    context.CancelFunc
	watched sync.WaitGroup

	mu      sync.Mutex
	process *exec.Cmd
	log     bytes.Buffer // of all its processes
	life    int          // counts the processes
	killed  map[int]bool // lives that SIGKILL has ended
}

// place is where a node is started: its addresses, and what its command begins with.
type place struct {
	client string   // where clients connect
	listen string   // the same, as the server sees it
	peers  string   // where other nodes connect
	within []string // "ip netns exec NAME", or nothing
	args   []string // for this server alone
}

// freePlaces returns places of n servers on this machine.
func freePlaces(t *testing.T, n int) []place {
	t.Helper()
	places := make([]place, n)
	for i := range places {
		address := addrtest.Free(t)
		places[i] = place{client: address, listen: address, peers: addrtest.Free(t)}
	}
	return places
}

// startNodes starts a cluster. Further arguments are for each server.
func startNodes(t *testing.T, places []place, args ...string) []*node {
	t.Helper()
	secret := secretFile(t)
	var routes []string
	for _, p := range places {
		routes = append(routes, "nats://"+p.peers)
	}
	nodes := make([]*node, len(places))
	for i, p := range places {
		name := fmt.Sprint("node-", i+1)
		n := &node{t: t, name: name, address: p.client, killed: map[int]bool{}}
		n.command = append(append(p.within, binary, "serve", "--listen="+p.listen, "--cluster-name=trial", "--cluster-node="+name,
			"--cluster-listen="+p.peers, "--cluster-routes="+strings.Join(routes, ","), "--cluster-secret-file="+secret,
			"--cluster-size="+fmt.Sprint(len(places)), "--drain-interval=20ms", "--log-format=json", "--topics=room:*"), append(args, p.args...)...)
		nodes[i] = n
		ctx, cancel := context.WithCancel(context.Background())
		n.stop = cancel
		n.start()
		n.watched.Go(func() { n.watch(ctx) })
		t.Cleanup(n.end)
		wait(t, n.name+" listens", n.listens) // dozens that start at once time out
	}
	for _, n := range nodes {
		wait(t, n.name+" is ready", n.ready.Load)
	}
	return nodes
}

// listens reports whether clients can connect.
func (n *node) listens() bool {
	conn, err := net.DialTimeout("tcp", n.address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// start starts a process.
func (n *node) start() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.life++
	n.process = exec.Command(n.command[0], n.command[1:]...)
	n.process.Stderr = logOf{n}
	n.process.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+n.t.TempDir())
	if err := n.process.Start(); err != nil {
		n.t.Fatal(err)
	}
	process, ended := n.process, make(chan struct{})
	n.ended = ended
	go func() {
		defer close(ended)
		process.Wait()
	}()
}

// logOf keeps what a node says.
type logOf struct{ *node }

func (l logOf) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// signal sends a signal to the process, which may have ended.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if s == syscall.SIGKILL {
		n.killed[n.life] = true
	}
	if err := n.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Error(err)
	}
}

// awaitEnd waits until the process has ended.
func (n *node) awaitEnd() {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.t.Fatalf("%s does not end", n.name)
	}
}

// current returns the life that the process is.
func (n *node) current() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// wasKilled reports whether SIGKILL has ended a life.
func (n *node) wasKilled(life int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.killed[life]
}

// watch does what a load balancer does: it keeps asking whether clients may be sent here.
func (n *node) watch(ctx context.Context) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+"/readyz", nil)
		if err != nil {
			n.t.Error(err)
			return
		}
		answer, err := client.Do(request)
		n.ready.Store(err == nil && answer.StatusCode == http.StatusOK)
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unwatch ends the asking.
func (n *node) unwatch() {
	n.stop()
	n.watched.Wait()
}

// end kills what is left, and shows the log of a failed test.
func (n *node) end() {
	n.unwatch()
	n.signal(syscall.SIGKILL)
	n.awaitEnd()
	if n.t.Failed() {
		n.mu.Lock()
		defer n.mu.Unlock()
		log := n.log.Bytes()
		n.t.Logf("the log of %s ends:\n%s", n.name, log[max(0, len(log)-6000):])
	}
}
