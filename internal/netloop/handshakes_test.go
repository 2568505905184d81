package netloop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// certificate returns the configuration of a server.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// trusting is the configuration of a client.
func trusting(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

// handshakeServer serves TLS with a function that is called in each handshake.
func handshakeServer(t *testing.T, g *Group, within func()) (addr string) {
	t.Helper()
	config := certificate(t)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { within(); return nil, nil }
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Serve(NewTLSListener(nl, config), func(netip.AddrPort) Handler { return &hooks{} })
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

func shakeHands(t *testing.T, addr string) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, trusting(tls.VersionTLS13))
	if err != nil {
		t.Error(err)
		return
	}
	c.Close()
}

// Only so many TLS handshakes compute at a time, and those whose peers are slow keep no place.
func TestHandshakesTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		var now, most atomic.Int64
		g := newGroup(t, w.with(Options{Loops: 2, Handshakes: 2}))
		addr := handshakeServer(t, g, func() {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
		})
		for range 5 {
			slow := dial(t, addr)
			if _, err := slow.Write([]byte{tlsRecord, 3, 1, 1}); err != nil {
				t.Fatal(err)
			}
		}
		var clients sync.WaitGroup
		for range 20 {
			clients.Go(func() { shakeHands(t, addr) })
		}
		clients.Wait()
		if n := most.Load(); n == 0 || n > 2 {
			t.Errorf("%d handshakes at a time, want 1 or 2", n)
		}
	})
}

// tlsRecord begins a record of a handshake (RFC 8446, 5.1).
const tlsRecord = 0x16

// While handshakes wait, it can be seen how long another would have to.
func TestHandshakeDelay(t *testing.T) {
	gate := make(chan struct{}, 100)
	g := newGroup(t, Options{Loops: 1, Handshakes: 1})
	addr := handshakeServer(t, g, func() { <-gate })
	gate <- struct{}{}
	shakeHands(t, addr)
	eventually(t, "the first to count", func() bool { return g.handshakes.cost.Load() > 0 })
	if d := g.HandshakeDelay(); d != 0 {
		t.Errorf("%s though nobody waits", d)
	}
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() { shakeHands(t, addr) })
	}
	eventually(t, "two to wait", func() bool { return g.handshakes.waiting.Load() == 2 })
	if d, cost := g.Stats().HandshakeDelay, time.Duration(g.handshakes.cost.Load()); d != 2*cost {
		t.Errorf("%s with two handshakes of %s before it", d, cost)
	}
	for range 3 {
		gate <- struct{}{}
	}
	clients.Wait()
	eventually(t, "nobody to wait", func() bool { return g.HandshakeDelay() == 0 })
}
