package cluster

import (
	"flag"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/certtest"
)

var comebacks = flag.Int("comeback", 0, "how many `clients` TestComeback has: make comeback")

const (
	// herdSize is the most clients of one process, which may open 20,000 files.
	herdSize = 10_000
	// outage is how long the servers are down. Meanwhile the first six attempts of phoenix.js
	// fail, and the seventh attempts of all clients come at the same moment.
	outage = time.Second
)

// TestComeback kills a cluster of two nodes with all clients on it and starts it again.
// All reconnect as phoenix.js does. The clients that are back first chat meanwhile.
func TestComeback(t *testing.T) {
	if *comebacks == 0 {
		t.Skip("only with -comeback: make comeback")
	}
	raiseBacklog(t)
	t.Logf("| clients | transport | their pause | admission | all are back after | half | chat p50 | p99 | max | refused | attempts |")
	t.Logf("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, secure := range []bool{false, true} {
		for _, jitter := range []bool{false, true} {
			for _, admitted := range []bool{false, true} {
				c := comeback{secure: secure, jitter: jitter, admission: admitted}
				t.Run(c.name(), func(t *testing.T) { c.run(t, *comebacks) })
			}
		}
	}
}

// comeback is one row of the table.
type comeback struct{ secure, jitter, admission bool }

func (c comeback) name() string {
	pick := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	return pick(c.secure, "wss", "ws") + "," + pick(c.jitter, "jitter", "phoenix.js") + "," + pick(c.admission, "with", "without")
}

// run plays the scenario and logs the row.
func (c comeback) run(t *testing.T, clients int) {
	t.Helper()
	nodes := startNodes(t, freePlaces(t, 2), c.options(t)...)
	var addresses []string
	for _, n := range nodes {
		n.unwatch()
		addresses = append(addresses, n.address)
	}
	chat := startHerd(t, herdPlan{Addresses: addresses[:1], Secure: c.secure, Clients: stormProbes, Chat: true})
	herds := startHerds(t, herdPlan{Addresses: addresses, Secure: c.secure, Jitter: c.jitter, Clients: clients})
	chat.awaitJoined()
	settled := time.Now()
	time.Sleep(2 * time.Second) // so that calm has enough messages
	killed := time.Now()
	restartAll(t, nodes)
	listening := time.Now()
	for _, h := range herds {
		h.awaitJoined()
	}
	all := time.Now()

	back, sum := joinedSince(listening, herds)
	talk := chat.report()
	wave := listening.Add(percentile(back, 1)) // a few come back early by chance; nearly all wait for their next attempt
	calm, busy := talk.latencies(settled, killed), talk.latencies(wave, all)
	if len(busy) == 0 && all.Sub(wave) > time.Second { // a few thousand are back between two messages
		t.Error("no chat message was received while the clients came back")
	}
	t.Logf("the servers listened again %s after they were killed; before, the chat's p99 was %s", listening.Sub(killed).Round(time.Millisecond), percentile(calm, 99).Round(10*time.Microsecond))
	row := strings.Split(c.name(), ",")
	t.Logf("| %d | %s | %s | %s | %s | %s | %s | %s | %s | %d | %d | join timeouts %d", clients, row[0], row[1], row[2],
		percentile(back, 100).Round(time.Millisecond), percentile(back, 50).Round(time.Millisecond),
		percentile(busy, 50).Round(10*time.Microsecond), percentile(busy, 99).Round(10*time.Microsecond), percentile(busy, 100).Round(10*time.Microsecond),
		sum.Refused, sum.Attempts, sum.JoinTimeouts)
}

// options returns the flags of the servers.
func (c comeback) options(t *testing.T) []string {
	args := []string{"--cluster-insecure", "--presence-off=*", "--idle-timeout=1h", "--limits-max-connections-per-address=0"}
	if c.secure {
		pair := certtest.New(t).Server()
		cert, key := certtest.Files(t, &pair)
		args = append(args, "--tls-cert="+cert, "--tls-key="+key, "--tls-clear=allow")
	}
	if !c.admission {
		args = append(args, "--limits-handshake-wait=0")
	}
	return args
}

// startHerds spreads the clients of a plan over processes and waits until all have joined.
func startHerds(t *testing.T, p herdPlan) (herds []*herd) {
	t.Helper()
	for clients := p.Clients; p.First < clients; p.First += herdSize {
		p.Clients = min(herdSize, clients-p.First)
		h := startHerd(t, p)
		herds = append(herds, h)
		h.awaitJoined()
	}
	return herds
}

// restartAll kills all nodes and starts them again after the outage. It returns when they
// listen.
func restartAll(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		n.signal(syscall.SIGKILL)
	}
	for _, n := range nodes {
		n.awaitEnd()
	}
	time.Sleep(outage)
	for _, n := range nodes {
		n.start()
	}
	for _, n := range nodes {
		wait(t, n.name+" listens", n.listens)
	}
}

// joinedSince ends the herds. It returns how long after a time each client has joined, and
// the sum of the counters.
func joinedSince(begun time.Time, herds []*herd) (back []time.Duration, sum herdReport) {
	for _, h := range herds {
		r := h.report()
		sum.Refused += r.Refused
		sum.Attempts += r.Attempts
		sum.JoinTimeouts += r.JoinTimeouts
		for _, at := range r.JoinedAt {
			back = append(back, time.Unix(0, at).Sub(begun))
		}
	}
	return back, sum
}
