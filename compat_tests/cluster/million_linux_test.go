package cluster

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

var million = flag.Int("million", 0, "how many `clients` TestMillion has: make million")

const (
	// ownFiles are those of a node besides its clients: listeners, connections to its
	// peers, the runtime's.
	ownFiles = 400
	// memoryOfClient is what both ends of a connection take, in bytes, with what the kernel
	// keeps. A run that needs more than is available starts fewer clients, and fails.
	memoryOfClient = 12 << 10
	// memoryOfProcess is what a node takes without clients.
	memoryOfProcess = 45 << 20
)

// TestMillion: one message reaches every client of a cluster, on as many nodes as the
// limit on open files requires.
func TestMillion(t *testing.T) {
	if *million == 0 {
		t.Skip("only with -million: make million")
	}
	each := openFiles(t) - ownFiles
	clients := affordable(t, each)
	places := freePlaces(t, (clients+each)/each) // one more client is the publisher
	raiseBacklog(t)
	dropped := packetsDropped(t)
	begun := time.Now()
	nodes := startNodes(t, places, "--cluster-insecure", "--presence-off=*", "--idle-timeout=1h", "--limits-max-connections-per-address=0", "--limits-handshakes-per-second=0")
	for _, n := range nodes {
		n.unwatch()
	}
	t.Logf("%d nodes are ready after %s", len(nodes), time.Since(begun).Round(time.Second))
	options := broadcastOf(t, nodes, clients)
	before := memoryNow(t, nodes)
	rest := &onRest{t: t, nodes: nodes}
	report, err := bench.Run(t.Context(), options, rest, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	joined := report.Open.Joined
	t.Logf("%d of %d clients and the publisher have joined after %.0f s, %.0f a second", joined-1, clients, report.Open.Seconds, report.Open.PerSecond)
	perClient := func(after, before int) float64 { return float64(after-before) / float64(max(joined, 1)) / 1024 }
	t.Logf("without clients a node takes %.1f MiB; a client takes %.2f KiB of its node, %.2f KiB of the load generator, and the two sockets %.2f KiB of the kernel",
		float64(before.nodes)/float64(len(nodes))/(1<<20), perClient(rest.memory.nodes, before.nodes), perClient(rest.memory.generator, 0), perClient(rest.memory.kernel, before.kernel))
	if r := report.Run; r != nil {
		t.Logf("%d messages: %d of %d received, %d lost, %d twice", r.Sent, r.Delivered, int64(clients)*r.Sent, r.Lost, r.Twice)
		if r.Latency != nil {
			t.Logf("a client has it %.2f s after it was sent in the mean, the last one after %.2f s", r.Latency.Mean/1e6, r.Latency.Max/1e6)
		}
		if r.Sent == 0 || r.Delivered != int64(clients)*r.Sent {
			t.Error("it has not reached everybody")
		}
	}
	t.Logf("the kernel has dropped %d packets between them", packetsDropped(t)-dropped)
	if !report.OK {
		t.Errorf("%q %v", report.Problems, report.Errors)
	}
	if clients < *million {
		t.Errorf("there was memory for %d of %d clients", clients, *million)
	}
}

// backlog is how many packets may wait for a processor. The usual 1,000 are too few where both
// ends of so many connections are on one machine: keepalive probes are lost three times in a
// row then, and the connections end.
const backlog = 100_000

// raiseBacklog sets net.core.netdev_max_backlog until the test ends, if it may.
func raiseBacklog(t *testing.T) {
	t.Helper()
	const file = "/proc/sys/net/core/netdev_max_backlog"
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Append(nil, backlog), 0o644); err != nil {
		t.Logf("%v: packets may be lost beyond %s that wait", err, bytes.TrimSpace(was))
		return
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, was, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// packetsDropped returns how many packets the kernel dropped because too many waited.
func packetsDropped(t *testing.T) (sum int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/softnet_stat") // a row for each processor
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var processed, dropped int
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err != nil {
			t.Fatal(err)
		}
		sum += dropped
	}
	return sum
}

// broadcastOf has clients join one topic on all nodes, and one more publish a few messages there.
func broadcastOf(t *testing.T, nodes []*node, clients int) *bench.Options {
	t.Helper()
	args := []string{"broadcast", "-c", fmt.Sprint(clients), "--messages=5", "--heartbeat=0", "--settle=10s", "--patience=3m"}
	for _, n := range nodes {
		args = append(args, "ws://"+n.address+"/socket", "--pid", fmt.Sprint(n.process.Process.Pid))
	}
	options, err := bench.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// onRest shows the progress of the load generator now and then, and measures memory when all
// clients have joined.
type onRest struct {
	t      *testing.T
	nodes  []*node
	lines  int
	memory memory
}

// Write implements io.Writer: each call has one line.
func (r *onRest) Write(line []byte) (int, error) {
	if r.lines++; r.lines%10 == 1 {
		r.t.Logf("%s", bytes.TrimSpace(line))
	}
	if bytes.Contains(line, []byte("resting")) {
		r.memory = memoryNow(r.t, r.nodes)
	}
	return len(line), nil
}

// memory is what is in use, in bytes.
type memory struct {
	nodes     int // resident, of the nodes
	generator int // resident, of the processes of the load generator
	kernel    int // what the kernel has allocated for objects of its own, sockets above all
}

func memoryNow(t *testing.T, nodes []*node) (m memory) {
	t.Helper()
	for _, n := range nodes {
		m.nodes += n.resident()
	}
	threads, err := filepath.Glob("/proc/self/task/*/children") // each has the processes that it started
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range threads {
		children, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			m.generator += residentOf(t, child)
		}
	}
	m.generator -= m.nodes
	m.kernel = meminfo(t, "Slab")
	return m
}

// openFiles returns how many files a process may open.
func openFiles(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Max, 1<<20))
}

// affordable returns for how many clients there is memory, at most -million, if a process
// has so many.
func affordable(t *testing.T, each int) int {
	t.Helper()
	available := meminfo(t, "MemAvailable")
	t.Logf("%d MiB of memory are available", available>>20)
	return min(*million, available/(memoryOfClient+2*memoryOfProcess/each)) // a node, and a process of the load generator
}

// meminfo returns a row of /proc/meminfo in bytes.
func meminfo(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	return kibibytes(t, string(text), name) << 10
}

// kibibytes finds the row of a name in a file of /proc.
func kibibytes(t *testing.T, text, name string) (n int) {
	t.Helper()
	_, after, found := strings.Cut(text, name+":")
	if _, err := fmt.Sscan(after, &n); !found || err != nil {
		t.Errorf("no %s in %.100q: %v", name, text, err)
	}
	return n
}

// residentOf returns the resident memory of a process in bytes.
func residentOf(t *testing.T, pid string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Error(err)
		return 0
	}
	return kibibytes(t, string(status), "VmRSS") << 10
}
