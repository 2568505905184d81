// Package acme tests the certificates that "mycelium serve" obtains from Pebble, the test
// server of the authors of Let's Encrypt. The module in the folder pebble pins its version.
package acme

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantedEnv enables these tests.
const wantedEnv = "MYCELIUM_CLIENTS"

const host = "rt.example.org"

var program string // the path of mycelium; static after buildAll

// TestACME has a subtest for each way in which an authority certifies a server.
func TestACME(t *testing.T) {
	if os.Getenv(wantedEnv) == "" {
		t.Skip("downloads and builds Pebble: make test-clients")
	}
	os.Unsetenv(wantedEnv) // the server takes it for an option with a mistake
	var err error
	if program, err = child.Build(t.TempDir(), "../../cmd/mycelium"); err != nil {
		t.Fatal(err)
	}
	buildPebble(t)
	t.Run("ways", func(t *testing.T) {
		t.Run("TLS-ALPN-01, and renewal", testRenewal)
		t.Run("HTTP-01", testHTTP)
		t.Run("refused", testRefused)
		t.Run("a shared cache", testSharedCache)
	})
}

// server is a "mycelium serve".
type server struct {
	*child.Process
	authority *pebble
	cache     string
}

// serve starts a server whose certificates are in dir.
func serve(t *testing.T, p *pebble, addr, cache string, args ...string) *server {
	t.Helper()
	s := &server{authority: p, cache: cache}
	s.Process = child.Start(t, program, append([]string{
		"serve", "--listen=" + addr, "--log-format=text", "--tls-acme-directory=" + p.directory, "--tls-acme-ca=" + p.ca,
		"--tls-acme-email=ops@example.org", "--tls-acme-cache=" + cache,
	}, args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server says:\n%s", s.Stderr)
		}
	})
	return s
}

// certificate returns the one that a client of name gets.
func (s *server) certificate(name string, own ...tls.Certificate) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: s.authority.root, ServerName: name, Certificates: own})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// await waits until clients of name get a certificate.
func (s *server) await(t *testing.T, name string, own ...tls.Certificate) (c *x509.Certificate) {
	t.Helper()
	waittest.For(t, "a certificate for "+name, func() (got bool) {
		var err error
		c, err = s.certificate(name, own...)
		if err != nil && s.ended() {
			t.Fatalf("%v\n%s", err, s.Stderr)
		}
		return err == nil
	})
	return c
}

func (s *server) ended() bool {
	select {
	case <-s.Ended:
		return true
	default:
		return false
	}
}

// testRenewal: the authority asks on the main port, which lets only clients in that have
// certificates of their own. A third of its life before it expires, the certificate is
// replaced, and sockets stay.
func testRenewal(t *testing.T) {
	t.Parallel()
	addr, clients := addrtest.Free(t), certtest.New(t)
	ada := clients.Client("ada")
	p := startPebble(t, options{tlsAddr: addr, seconds: 60})
	s := serve(t, p, addr, t.TempDir(), "--tls-acme-hosts="+host, "--tls-client-ca="+clients.File())
	first := s.await(t, host, ada)
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: p.root, ServerName: host, Certificates: []tls.Certificate{ada}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := wstest.NewClient(conn, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Drop()
	waittest.For(t, "another certificate", func() bool {
		c, err := s.certificate(host, ada)
		if err != nil {
			t.Fatalf("while it is renewed: %v", err)
		}
		return c.SerialNumber.Cmp(first.SerialNumber) != 0
	})
	if err := socket.WriteText(`[null,"1","phoenix","heartbeat",{}]`); err != nil {
		t.Fatal(err)
	}
	if _, text, err := socket.ReadMessage(); err != nil || !strings.Contains(string(text), `"ok"`) {
		t.Errorf("a socket from before: %s, %v", text, err)
	}
	if n := strings.Count(s.Stderr.String(), "certificate issued"); n < 2 {
		t.Errorf("the log has %d certificates\n%s", n, s.Stderr)
	}
}

// testHTTP: the authority asks on a port of its own, which redirects everybody else. What it
// has issued is kept over a restart.
func testHTTP(t *testing.T) {
	t.Parallel()
	addr, httpAddr, cache := addrtest.Free(t), addrtest.Free(t), t.TempDir()
	p := startPebble(t, options{httpAddr: httpAddr, tlsAddr: addrtest.Free(t), seconds: 7200}) // nobody listens on the port for TLS-ALPN-01
	t.Run("first", func(t *testing.T) {
		s := serve(t, p, addr, cache, "--tls-acme-hosts="+host, "--tls-acme-listen="+httpAddr)
		issued := s.await(t, host)
		if issued.DNSNames[0] != host {
			t.Errorf("it is for %v", issued.DNSNames)
		}
		var unverified *tls.CertificateVerificationError
		if _, err := s.certificate(""); !errors.As(err, &unverified) || unverified.UnverifiedCertificates[0].DNSNames[0] != host {
			t.Errorf("without a name: %v", err)
		}
		for _, want := range []string{"the authority could not verify this server", "challenge=tls-alpn-01", "reason=\"Failed to connect to"} {
			if !strings.Contains(s.Stderr.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer client.CloseIdleConnections()
		for path, want := range map[string]int{"/observer?x=1": http.StatusFound, "/.well-known/acme-challenge/none": http.StatusForbidden} {
			r, err := client.Get("http://" + httpAddr + path)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
			}
			if at := r.Header.Get("Location"); want == http.StatusFound && at != "https://127.0.0.1/observer?x=1" {
				t.Errorf("%s goes to %s", path, at)
			}
		}
	})
	p.stop()
	s := serve(t, p, addr, cache, "--tls-acme-hosts="+host, "--tls-acme-listen="+httpAddr)
	s.await(t, host)
	if strings.Contains(s.Stderr.String(), "certificate issued") {
		t.Errorf("after a restart\n%s", s.Stderr)
	}
}

// testRefused: a name that the authority refuses keeps no other name from being served.
func testRefused(t *testing.T) {
	t.Parallel()
	addr := addrtest.Free(t)
	p := startPebble(t, options{tlsAddr: addr, seconds: 7200})
	s := serve(t, p, addr, t.TempDir(), "--tls-acme-hosts="+host+","+blocked)
	s.await(t, host)
	waittest.For(t, "the authority's reason in the log", func() bool { return strings.Contains(s.Stderr.String(), "host="+blocked) })
	for name, want := range map[string]string{blocked: "internal error", "unknown.example.org": "internal error", host: ""} {
		if _, err := s.certificate(name); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for _, want := range []string{"rejectedIdentifier", "is a forbidden domain", "again_in=2m0s"} {
		if !strings.Contains(s.Stderr.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

// testSharedCache: the authority asks one of two servers about what the other has ordered.
func testSharedCache(t *testing.T) {
	t.Parallel()
	asked, cache := addrtest.Free(t), t.TempDir()
	p := startPebble(t, options{tlsAddr: asked, seconds: 7200})
	waits := serve(t, p, asked, cache, "--tls-acme-hosts=other.example.org")
	orders := serve(t, p, addrtest.Free(t), cache, "--tls-acme-hosts="+host)
	orders.await(t, host)
	waits.await(t, "other.example.org")
	if _, err := waits.certificate(host); err == nil {
		t.Error("a server has a certificate for a name that is not its own")
	}
	if files, _ := filepath.Glob(filepath.Join(cache, host)); len(files) != 1 {
		t.Errorf("the cache has %v", files)
	}
}

func portOf(t *testing.T, addr string) (port int) {
	t.Helper()
	if addr == "" {
		return 1 // nobody listens on it
	}
	_, text, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = fmt.Sscan(text, &port)
	}
	if err != nil {
		t.Fatal(err)
	}
	return port
}
