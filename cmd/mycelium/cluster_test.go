package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/internal/natstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// node is a process of mycelium serve.
type node struct {
	server
	process *exec.Cmd
	ended   chan error
	name    string
	route   string // where other nodes connect
}

// patience is how long a test waits for what must happen on a loaded machine.
const patience = 90 * time.Second

// startNode starts a process of this test as "mycelium serve", and waits until it listens.
func startNode(t *testing.T, name string, args ...string) *node {
	t.Helper()
	n := beginNode(t, name, args...)
	n.awaitListening(t)
	return n
}

// beginNode starts a process of this test as "mycelium serve".
func beginNode(t *testing.T, name string, args ...string) *node {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "mycelium")
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	n := &node{ended: make(chan error, 1), name: name}
	n.log, n.environ = new(buffer), []string{"XDG_RUNTIME_DIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	n.process = exec.Command(bin, append([]string{
		"serve", "--listen=127.0.0.1:0", "--cluster-name=test", "--cluster-node=" + name, "--drain-interval=10ms",
		"--idle-timeout=10m", // the tests' clients send no heartbeats
	}, args...)...)
	n.process.Env, n.process.Stderr = n.environ, n.log
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.ended <- n.process.Wait() }()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, n.log)
		}
	})
	return n
}

func (n *node) awaitListening(t *testing.T) {
	t.Helper()
	wait(t, n.name+" listens", func() bool {
		select {
		case err := <-n.ended:
			n.ended <- err
			t.Fatalf("%s ended: %v\n%s", n.name, err, n.log)
		default:
		}
		n.addr, n.route = n.logged("listening"), "nats://"+n.logged("joining")
		return n.addr != ""
	})
}

// line is one of a node's log.
type line struct {
	Addr, Message, Node, Instance string
	Others                        int
}

func (n *node) lines() (all []line) {
	for text := range strings.Lines(n.log.String()) {
		var entry line
		if json.Unmarshal([]byte(text), &entry) == nil {
			all = append(all, entry)
		}
	}
	return all
}

// logged returns the address of the line with a message.
func (n *node) logged(message string) string {
	for _, l := range n.lines() {
		if l.Message == message {
			return l.Addr
		}
	}
	return ""
}

// tells reports whether a line is in the log, apart from its address.
func (n *node) tells(want line) bool {
	return slices.ContainsFunc(n.lines(), func(l line) bool { l.Addr = want.Addr; return l == want })
}

// terminate sends SIGTERM and wants a clean end.
func (n *node) terminate(t *testing.T) {
	t.Helper()
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-n.ended:
		if err != nil {
			t.Errorf("ended with %v:\n%s", err, n.log)
		}
		n.ended <- nil
	case <-time.After(patience):
		t.Fatal("SIGTERM does not end it")
	}
}

// kill ends the process at once.
func (n *node) kill() {
	n.process.Process.Kill() // it may have ended
	err := <-n.ended
	n.ended <- err
}

func (n *node) ready(t *testing.T) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.addr+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, r)
}

func (n *node) metrics(t *testing.T) string {
	t.Helper()
	_, text := n.call(t, http.MethodGet, "/metrics", "")
	return text
}

var wait = waittest.For

// embedded are the flags of a node that has its server in itself.
func embedded(t *testing.T) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, strings.Repeat("0123456789", 4)+"\n")
	return []string{"--cluster-listen=127.0.0.1:0", "--cluster-secret-file=" + secret}
}

// member is a client that has joined a topic.
type member struct {
	*wstest.Client
	topic string
}

func joinAt(t *testing.T, n *node, query, topic string) *member {
	t.Helper()
	c, err := wstest.Dial(n.addr, query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	m := &member{c, topic}
	m.write(t, `["1","1","%s","phx_join",{"user":"%s"}]`, topic, "guest-of-"+n.name)
	expect(t, c, `"status":"ok"`)
	return m
}

func (m *member) write(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := m.WriteText(fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

// say pushes an event with a number, and awaits its answer.
func (m *member) say(t *testing.T, n int) {
	t.Helper()
	m.write(t, `["1","9","%s","say",{"n":%d}]`, m.topic, n)
	expect(t, m.Client, `"status":"ok"`)
}

// hears wants the numbers from first to last, in their order, and nothing between them.
func (m *member) hears(t *testing.T, first, last int) {
	t.Helper()
	for n := first; n <= last; {
		_, data, err := m.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %d: %v", n, err)
		}
		if !strings.Contains(string(data), `"say"`) {
			continue
		}
		if want := fmt.Sprintf(`"say",{"n":%d}]`, n); !strings.Contains(string(data), want) {
			t.Fatalf("got %s, want %s", data, want)
		}
		n++
	}
}

const atDefault = "/socket/websocket?vsn=2.0.0"

// TestCluster: three processes behave as one to clients and to the API, while one of
// them is stopped, and started again, and another is killed.
// It takes 16 s: a node that is killed is down after cluster.DownAfter, 6 s.
func TestCluster(t *testing.T) {
	t.Parallel()
	flags := append(embedded(t), "--cluster-size=3", "--auth-secret="+strings.Repeat("k", 32), "--auth-socket-id=user:{sub}", "--auth-join=*", "--auth-publish=*", "--auth-no-expiry=true")
	began := time.Now()
	a := startNode(t, "a", flags...)
	routes := slices.Concat(flags, []string{"--cluster-routes=" + a.route})
	b := startNode(t, "b", routes...)
	if status, _ := b.ready(t); status == http.StatusOK {
		wait(t, "the log to say that it is ready", func() bool { return strings.Contains(b.log.String(), "joined the cluster") })
	}
	c := startNode(t, "c", routes...)
	all := []*node{a, b, c}
	for _, n := range all {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
		alone := n.tells(line{Message: "joined the cluster", Node: n.name})
		if alone && time.Since(began) < membership.AloneAfter { // a busy machine may have started them later than that
			t.Errorf("ready without both others:\n%s", n.log)
		}
	}
	as := func(sub string) string {
		return atDefault + "&token=" + token(t, []string{"MYCELIUM_AUTH_SECRET=" + strings.Repeat("k", 32)}, "sign", "--sub="+sub)
	}
	var members []*member
	for _, n := range all {
		members = append(members, joinAt(t, n, as("ada"), "room:1"))
	}
	// What a client pushes, and what the API broadcasts, reaches the clients of all nodes.
	for n := range 100 {
		members[n%3].say(t, n+1)
		for i, m := range members {
			if i != n%3 { // who says it has read past it
				m.hears(t, n+1, n+1)
			}
		}
	}
	if status, text := b.call(t, http.MethodPost, "/api/instances/default/broadcast", `{"topic":"room:1","event":"say","payload":{"n":101}}`); status/100 != 2 {
		t.Fatalf("broadcast: %d %s", status, text)
	}
	for _, m := range members {
		m.hears(t, 101, 101)
	}
	// A disconnect by the API of one node closes the sockets of another.
	if status, text := c.call(t, http.MethodPost, "/api/instances/default/disconnect", `{"socket_id":"user:ada"}`); status/100 != 2 {
		t.Fatalf("disconnect: %d %s", status, text)
	}
	for _, m := range members {
		for {
			_, _, err := m.ReadMessage()
			var closed *wstest.CloseError
			if errors.As(err, &closed) {
				_ = m.Drop() // the server waits for it
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(t, "the metrics of a have b and c", func() bool {
		text := a.metrics(t)
		return strings.Contains(text, `mycelium_cluster_node_state{node="b",state="up"} 1`) && strings.Contains(text, `mycelium_cluster_node_state{node="c",state="up"} 1`) &&
			strings.Contains(text, `mycelium_cluster_lost_entries_total{node="b"} 0`)
	})

	// A node that is stopped says goodbye, and comes back.
	b.terminate(t)
	wait(t, "a knows that b has left", func() bool { return a.tells(line{Message: "node has left", Node: "b"}) })
	b = startNode(t, "b", routes...)
	wait(t, "b is ready again", func() bool { status, _ := b.ready(t); return status == http.StatusOK })
	// One that is killed is missed after six seconds; the others go on.
	c.kill()
	ada, eve := joinAt(t, a, as("ada"), "room:2"), joinAt(t, b, as("eve"), "room:2")
	ada.say(t, 1)
	eve.hears(t, 1, 1)
	eve.say(t, 2)
	wait(t, "a misses c", func() bool { return a.tells(line{Message: "node is silent", Node: "c"}) })
	ada.say(t, 3)
	eve.hears(t, 3, 3)
	a.terminate(t)
	b.terminate(t)
}

// TestClusterPresence: everybody sees who is on the other node, while clients and nodes come
// and go, and the instance is restarted.
// It takes 15 s: what a killed node had goes after cluster.DownAfter, 6 s.
func TestClusterPresence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	config := "instances:\n- {id: news, type: relay, config: {presence_window: %s}}\n"
	writeFile(t, file, fmt.Sprintf(config, "0s"))
	flags := append(embedded(t), "--config="+file)
	a := startNode(t, "a", flags...)
	b := startNode(t, "b", append(flags, "--cluster-routes="+a.route)...)
	for _, n := range []*node{a, b} {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	const news = "/socket/news/websocket?vsn=2.0.0"
	here := joinAt(t, a, news, "room:1")
	expect(t, here.Client, `"presence_state",{"guest-of-a":`)
	wait(t, "b knows the guest of a", func() bool {
		_, text := b.call(t, http.MethodGet, "/api/instances/news/presence?topic=room:1", "")
		return strings.Contains(text, "guest-of-a")
	})
	there := joinAt(t, b, news, "room:1")
	expect(t, there.Client, `"presence_state",{"guest-of-a":{"metas":[{"phx_ref"`)
	expect(t, here.Client, `"presence_diff",{"joins":{"guest-of-b":`)
	if status, text := a.call(t, http.MethodGet, "/api/instances/news/presence?topic=room:1", ""); status != http.StatusOK || !strings.Contains(text, "guest-of-b") {
		t.Errorf("the API of a: %d %s", status, text)
	}
	there.Drop()
	expect(t, here.Client, `"leaves":{"guest-of-b":`)

	// The next life of an instance has them too.
	there = joinAt(t, b, news, "room:1")
	expect(t, here.Client, `"presence_diff",{"joins":{"guest-of-b":`)
	writeFile(t, file, fmt.Sprintf(config, "10ms"))
	if err := a.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait(t, "a has reloaded", func() bool { return a.tells(line{Message: "configuration reloaded"}) })
	expect(t, there.Client, `"leaves":{"guest-of-a":`)
	again := joinAt(t, a, news, "room:1")
	expect(t, again.Client, `"guest-of-b":`)
	expect(t, there.Client, `"presence_diff",{"joins":{"guest-of-a":`)

	// A node that is killed leaves nobody behind.
	b.kill()
	expect(t, again.Client, `"leaves":{"guest-of-b":`)
	a.terminate(t)
}

const alone = "instance lives on this node alone"

// TestClusterInstances: relays of the configuration are on all nodes; other instances
// are where they are, and the log says so.
func TestClusterInstances(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "instances:\n- {id: news, type: relay}\n- {id: talk, type: chat}\n")
	flags := append(embedded(t), "--config="+file)
	a := startNode(t, "a", flags...)
	b := startNode(t, "b", append(flags, "--cluster-routes="+a.route)...)
	for _, n := range []*node{a, b} {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	here, there := joinAt(t, a, "/socket/news/websocket?vsn=2.0.0", "room:1"), joinAt(t, b, "/socket/news/websocket?vsn=2.0.0", "room:1")
	apart := joinAt(t, b, atDefault, "room:1") // another instance
	here.say(t, 1)
	there.hears(t, 1, 1)
	joinAt(t, a, atDefault, "room:1").say(t, 2)
	apart.hears(t, 2, 2)
	if status, text := a.call(t, http.MethodPost, "/api/instances", `{"id":"made","type":"relay"}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	for _, id := range []string{"talk", "made"} {
		wait(t, "the log has "+id, func() bool { return a.tells(line{Message: alone, Instance: id}) })
	}
	for _, id := range []string{"news", "default"} {
		if a.tells(line{Message: alone, Instance: id}) {
			t.Errorf("%s, a relay of the configuration, lives on one node alone", id)
		}
	}
}

// TestClusterNames: of two nodes of one name the younger ends, and says why.
// It takes 9 s: two nodes of one name are noticed after 8 s.
func TestClusterNames(t *testing.T) {
	t.Parallel()
	flags := embedded(t)
	a := startNode(t, "a", flags...)
	other := startNode(t, "a", append(flags, "--cluster-routes="+a.route)...)
	select {
	case err := <-other.ended:
		other.ended <- err
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("ended with %v, want 1", err)
		}
		if !strings.Contains(other.log.String(), `another node is called \"a\"`) {
			t.Errorf("it does not say why:\n%s", other.log)
		}
	case <-time.After(patience):
		t.Fatal("two nodes have one name")
	}
	if status, text := a.ready(t); status != http.StatusOK {
		t.Errorf("the older is not ready: %d %s", status, text)
	}
}

// TestClusterNATSAway: while an external NATS server is away, clients of one node reach
// each other, and their messages reach the other node afterwards. Messages beyond what may
// wait are refused, and that is logged.
// It takes 15 s: it waits for the pauses between NATS's attempts to reconnect, twice.
func TestClusterNATSAway(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t)
	flags := []string{"--cluster-nats-url=" + nats.URL(), "--limits-messages-per-second=0", "--limits-max-message=1MiB"}
	a, b := startNode(t, "a", flags...), startNode(t, "b", flags...)
	for _, n := range []*node{a, b} {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	ada, bob, eve := joinAt(t, a, atDefault, "room:1"), joinAt(t, a, atDefault, "room:1"), joinAt(t, b, atDefault, "room:1")
	carl, dora := joinAt(t, a, atDefault, "room:large"), joinAt(t, a, atDefault, "room:large")
	ada.say(t, 1)
	eve.hears(t, 1, 1)
	nats.Stop()
	// What is sent before a node notices can be sent again for ten seconds only, which a busy machine exceeds.
	wait(t, "the log says that NATS is away", func() bool { return strings.Contains(a.log.String(), "NATS cannot be reached") })
	for n := 2; n <= 500; n++ {
		ada.say(t, n)
	}
	bob.hears(t, 1, 500)
	if status, text := a.ready(t); status != http.StatusOK {
		t.Errorf("not ready while NATS is away: %d %s", status, text)
	}
	if text := a.metrics(t); !strings.Contains(text, "mycelium_cluster_connected 0") {
		t.Error("the metrics do not say that NATS is away")
	}
	nats.Restart()
	eve.hears(t, 2, 500)

	nats.Stop()
	large := strings.Repeat("x", 900<<10)
	refused := 0
	for range 40 { // more than the 16 MiB that may wait
		carl.write(t, `["1","9","room:large","large",{"x":"%s"}]`, large)
		if reply := answer(t, carl.Client); strings.Contains(reply, `"reason":"overloaded"`) {
			refused++
		} else if !strings.Contains(reply, `"status":"ok"`) {
			t.Fatalf("the answer is %s", reply)
		}
		expect(t, dora.Client, `"large"`)
	}
	if refused < 20 || refused > 30 {
		t.Errorf("%d of 40 pushes of 900 KiB were refused, although 16 MiB may wait", refused)
	}
	wait(t, "it is counted", func() bool {
		return strings.Contains(a.metrics(t), fmt.Sprintf("mycelium_cluster_refused_entries_total %d\n", refused))
	})
	nats.Restart()
	wait(t, "what waits has left", func() bool { return strings.Contains(a.metrics(t), "mycelium_cluster_waiting_bytes 0\n") })
	ada.say(t, 501)
	eve.hears(t, 501, 501)
	a.terminate(t)
	b.terminate(t)
}

// answer returns the next reply.
func answer(t *testing.T, c *wstest.Client) string {
	t.Helper()
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `"phx_reply"`) {
			return string(data)
		}
	}
}
