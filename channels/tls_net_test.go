package channels_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// selfSigned makes a certificate for the loopback and the configuration of a
// client that trusts it.
func selfSigned(t testing.TB) (serverSide, clientSide *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// dialTLS connects a client of version 2 over TLS.
func dialTLS(t testing.TB, addr string, config *tls.Config) *peer {
	t.Helper()
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	return newPeer(t, ws, "vsn=2")
}

func TestTLSOnTheSamePort(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS, o.Handler = serverSide, mirror
		schemes := make(chan string, 10)
		connect := func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			schemes <- r.URL.Scheme
			return nil
		}
		s := serve(t, o, channels.SocketOptions{Connect: connect}, room())

		secure, plain := dialTLS(t, s.addr, clientSide), s.dial(t)
		if a, b := <-schemes, <-schemes; a != "https" || b != "http" {
			t.Errorf("schemes %s and %s", a, b)
		}
		a, b := secure.join("room:1", "{}"), plain.join("room:1", "{}")
		secure.push(a, "room:1", "shout", `{"body":"from TLS"}`)
		plain.assertNext("", "room:1", "shout", `{"body":"from TLS"}`)
		large := `{"body":"` + strings.Repeat("x", 300_000) + `"}` // many TLS records
		plain.push(b, "room:1", "shout", large)
		secure.await("shout")
		secure.assertNext("", "room:1", "shout", large)

		c := &http.Client{Transport: &http.Transport{TLSClientConfig: clientSide, ForceAttemptHTTP2: true}, Timeout: patience}
		t.Cleanup(c.CloseIdleConnections)
		for range 2 { // the second on the kept connection
			r, err := c.Post("https://"+s.addr+"/x", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if string(got) != "POST /x tls=true body" {
				t.Errorf("HTTP over TLS: %q", got)
			}
		}
		// A broken message ends a TLS socket with its code as any other.
		if err := secure.WriteText("{"); err != nil {
			t.Fatal(err)
		}
		if code := secure.closeCode(); code != 1011 {
			t.Errorf("closed with %d", code)
		}
	})
}

// A client that comes back resumes its session, without the certificate's signature.
func TestTLSResumed(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS = serverSide
		s := serve(t, o, channels.SocketOptions{}, room())
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := clientSide.Clone()
			config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
			for i := range 3 {
				p := dialTLS(t, s.addr, config)
				p.join("room:1", "{}") // the ticket comes with what is read
				if state := p.Conn().(*tls.Conn).ConnectionState(); state.DidResume != (i > 0) || state.Version != version {
					t.Errorf("connection %d: resumed %v, version %x", i, state.DidResume, state.Version)
				}
				p.Drop()
			}
		}
	})
}

// A kept HTTP connection over TLS may become a socket.
func TestTLSUpgradeOfKeptConnection(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS, o.Handler = serverSide, mirror
		var scheme atomic.Value
		connect := func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			scheme.Store(r.URL.Scheme)
			return nil
		}
		s := serve(t, o, channels.SocketOptions{Connect: connect}, room())
		c, err := tls.Dial("tcp", s.addr, clientSide)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 4096)
		if n, err := c.Read(first); err != nil || !strings.HasPrefix(string(first[:n]), "HTTP/1.1 200 ") {
			t.Fatalf("first request: %q, %v", first[:n], err)
		}
		ws, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		p := newPeer(t, ws, "vsn=2")
		ref := p.join("room:1", "{}")
		p.assertReply(ref, "room:1", "echo", "[1]", "ok", "[1]")
		if scheme.Load() != "https" {
			t.Errorf("scheme %v", scheme.Load())
		}
	})
}

// A connection that only begins like TLS gives its place back, and so does a
// client that does not trust the certificate or goes away in the middle.
func TestTLSFailedHandshakes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS, o.Limits.MaxConnections = serverSide, 3
		s := serve(t, o, channels.SocketOptions{}, room())
		for i := range 8 {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			switch i % 3 {
			case 0:
				c.Write([]byte{0x16, 3, 1, 0, 4, 'n', 'o', 'p', 'e'})
				io.Copy(io.Discard, c)
			case 1:
				if err := tls.Client(c, &tls.Config{ServerName: "localhost"}).Handshake(); err == nil {
					t.Error("an unknown certificate was trusted")
				}
			case 2:
				c.Write([]byte{0x16, 3, 1, 2, 0, 1})
			}
			c.Close()
			waitFor(t, "the connection to be gone", func() bool {
				return s.Stats().Network.Refused == int64(i+1) || s.Stats().Refused > 0
			})
		}
		if n := s.Stats().Refused; n > 0 {
			t.Fatalf("%d connections refused: failed handshakes keep their places", n)
		}
		dialTLS(t, s.addr, clientSide).join("room:1", "{}")
		dialTLS(t, s.addr, clientSide).join("room:1", "{}")
		s.dial(t).join("room:1", "{}")
		if _, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil); err == nil {
			t.Error("a fourth connection at MaxConnections 3")
		}
	})
}

// The endpoint as a handler of another net/http server, which may have TLS.
func TestMounted(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for _, secure := range []bool{false, true} {
			o.Handler = mirror
			s := serve(t, o, channels.SocketOptions{Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
				switch {
				case r.Params.Get("refuse") != "":
					return &channels.RefusedError{Status: 429, Body: "come back"}
				case (r.URL.Scheme == "https") != secure || !r.RemoteAddr.Addr().IsLoopback() || r.URL.Host == "":
					return errors.New("wrong connect info")
				}
				return nil
			}}, room())
			host := httptest.NewUnstartedServer(s.Endpoint)
			if secure {
				host.StartTLS()
			} else {
				host.Start()
			}
			t.Cleanup(host.Close)
			testMounted(t, host, secure)
		}
	})
}

func testMounted(t *testing.T, host *httptest.Server, secure bool) {
	dial := func() *peer {
		c, err := net.Dial("tcp", host.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if secure {
			pool := x509.NewCertPool()
			pool.AddCert(host.Certificate())
			c = tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "example.com"})
		}
		ws, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		return newPeer(t, ws, "vsn=2")
	}
	p, q := dial(), dial()
	a, b := p.join("room:1", "{}"), q.join("room:1", "{}")
	p.push(a, "room:1", "shout", `{"body":"hi"}`)
	q.assertNext("", "room:1", "shout", `{"body":"hi"}`)
	q.assertReply(b, "room:1", "echo", `{"a":[1]}`, "ok", `{"a":[1]}`)
	if err := q.WriteText("nonsense"); err != nil {
		t.Fatal(err)
	}
	if code := q.closeCode(); code != 1011 {
		t.Errorf("closed with %d", code)
	}
	for path, want := range map[string][]int{"/other": {200}, "/socket/websocket": {400, 426}, "/socket/websocket?refuse=1": {429}} {
		r, err := host.Client().Get(host.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if !slices.Contains(want, r.StatusCode) {
			t.Errorf("%s: %d, want one of %v", path, r.StatusCode, want)
		}
	}
	if secure {
		return
	}
	early, err := wstest.Connect(host.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	e := newPeer(t, early, "vsn=2")
	e.write(string(wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", nil)) + string(frames(`["1","1","room:1","phx_join",{}]`)))
	if status, _ := e.answer(); status != 101 {
		t.Fatalf("status %d", status)
	}
	if m := e.await("phx_reply"); m.status != "ok" {
		t.Errorf("early join: %v", m)
	}
}
