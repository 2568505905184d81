package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

var comebacks = flag.Int("comeback", 0, "how many `clients` TestComeback has: make comeback")

const (
	// flockSize is how many clients one process has, at most: it may open 20,000 files.
	flockSize = 10_000
	// outage is how long the servers are away. The first six attempts of phoenix.js fail
	// meanwhile, and the seventh of everybody comes at the same moment.
	outage = time.Second
)

// TestComeback kills a cluster of two nodes with all clients on it and starts it again.
// Everybody comes back as phoenix.js does, while those who were fastest chat.
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

func (c comeback) run(t *testing.T, clients int) {
	t.Helper()
	args := []string{"--cluster-insecure", "--presence-off=*", "--idle-timeout=1h", "--limits-max-connections-per-address=0"}
	if c.secure {
		cert, key := certificateFiles(t)
		args = append(args, "--tls-cert="+cert, "--tls-key="+key, "--tls-clear=allow")
	}
	if !c.admission {
		args = append(args, "--limits-handshake-wait=0")
	}
	places := make([]place, 2)
	for i := range places {
		address := addrtest.Free(t)
		places[i] = place{client: address, listen: address, peers: addrtest.Free(t)}
	}
	nodes := startNodes(t, places, args...)
	var addresses []string
	for _, n := range nodes {
		n.unwatch()
		addresses = append(addresses, n.address)
	}
	plan := flockPlan{Addresses: addresses, Secure: c.secure, Jitter: c.jitter}
	chat := startFlock(t, flockPlan{Addresses: addresses[:1], Secure: c.secure, Clients: stormProbes, Chat: true})
	var flocks []*flock
	for first := 0; first < clients; first += flockSize {
		plan.First, plan.Clients = first, min(flockSize, clients-first)
		f := startFlock(t, plan)
		flocks = append(flocks, f)
		f.awaitJoined()
	}
	chat.awaitJoined()
	settled := time.Now()
	time.Sleep(2 * time.Second) // which are the calm before the storm
	killed := time.Now()
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
	begun := time.Now()
	var back []time.Duration
	var sum flockReport
	for _, f := range flocks {
		f.awaitJoined()
	}
	all := time.Now()
	for _, f := range flocks {
		r := f.report()
		sum.Refused += r.Refused
		sum.Attempts += r.Attempts
		sum.JoinTimeouts += r.JoinTimeouts
		for _, at := range r.JoinedAt {
			back = append(back, time.Unix(0, at).Sub(begun))
		}
	}
	talk := chat.report()
	wave := begun.Add(percentile(back, 1)) // somebody comes by chance, and nearly all wait for their next attempt
	calm, busy := talk.latencies(settled, killed), talk.latencies(wave, all)
	if len(busy) == 0 {
		t.Error("nobody has chatted meanwhile")
	}
	t.Logf("servers listen %s after they were killed; the chat's p99 was %s before", begun.Sub(killed).Round(time.Millisecond), percentile(calm, 99).Round(10*time.Microsecond))
	row := strings.Split(c.name(), ",")
	t.Logf("| %d | %s | %s | %s | %s | %s | %s | %s | %s | %d | %d | join timeouts %d", clients, row[0], row[1], row[2],
		percentile(back, 100).Round(time.Millisecond), percentile(back, 50).Round(time.Millisecond),
		percentile(busy, 50).Round(10*time.Microsecond), percentile(busy, 99).Round(10*time.Microsecond), percentile(busy, 100).Round(10*time.Microsecond),
		sum.Refused, sum.Attempts, sum.JoinTimeouts)
}

// certificateFiles makes a certificate of an elliptic curve, as Let's Encrypt issues them
// by default, for the time of a test.
func certificateFiles(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM, keyPEM := selfSigned(t)
	for file, data := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// selfSigned returns a certificate that nobody trusts, and its key.
func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
