package channels_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// visitors has the certificates of the clients that have connected, as Connect and the socket saw them.
type visitors chan [2]*channels.ClientCertificate

func (v visitors) connect(_ context.Context, s *channels.Socket, r *channels.Request) error {
	v <- [2]*channels.ClientCertificate{r.Certificate, s.Certificate()}
	return nil
}

// expect checks the certificate of the client that has connected last.
func (v visitors) expect(t *testing.T, way string, want *channels.ClientCertificate) {
	t.Helper()
	if seen := <-v; !reflect.DeepEqual(seen[0], want) || seen[0] != seen[1] {
		t.Errorf("%s: Connect saw %+v and %+v, want %+v", way, seen[0], seen[1], want)
	}
}

// identified issues a certificate for a client, and returns it with what a server sees of it.
func identified(a *certtest.Authority) (tls.Certificate, *channels.ClientCertificate) {
	c := a.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "sensor 7", Organization: []string{"Acme"}}, DNSNames: []string{"a.example", "b.example"},
		EmailAddresses: []string{"ada@example.org"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/sensor/7"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	fingerprint := sha256.Sum256(c.Leaf.Raw)
	return c, &channels.ClientCertificate{
		Subject: "CN=sensor 7,O=Acme", CommonName: "sensor 7", DNSNames: []string{"a.example", "b.example"},
		EmailAddresses: []string{"ada@example.org"}, URIs: []string{"spiffe://example.org/sensor/7"},
		Issuer: "CN=authority of a test", Serial: c.Leaf.SerialNumber.Text(16), Fingerprint: hex.EncodeToString(fingerprint[:]), NotAfter: c.Leaf.NotAfter,
	}
}

// TestClientCertificate: Connect, the socket and tools see who has connected, on every transport.
func TestClientCertificate(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		authority := certtest.New(t)
		own, want := identified(authority)
		o.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Server()}, ClientCAs: authority.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
		o.Handler = mirror
		seen := make(visitors, 10)
		s := serve(t, o, channels.SocketOptions{Connect: seen.connect, LongPoll: longPolling}, room())

		config := authority.Trusting(own)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for range 2 { // the second is resumed
			p := dialTLS(t, s.addr, config)
			p.join("room:1", "{}")
			seen.expect(t, "websocket", want)
		}
		dialTLS(t, s.addr, authority.Trusting()).join("room:1", "{}")
		seen.expect(t, "without a certificate", nil)
		s.dial(t).join("room:1", "{}")
		seen.expect(t, "without TLS", nil)
		dialAfterPage(t, s.addr, config)
		seen.expect(t, "websocket after a page", want)
		for _, http2 := range []bool{false, true} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Trusting(own), ForceAttemptHTTP2: http2}, Timeout: patience}
			t.Cleanup(client.CloseIdleConnections)
			c := &lpClient{t: t, do: client.Do, base: "https://" + s.addr, target: "/socket/longpoll?vsn=2.0.0"}
			c.open()
			seen.expect(t, fmt.Sprintf("long polling, HTTP/2 %v", http2), want)
		}
		with := 0
		for _, info := range s.Sockets(0) {
			if info.Certificate != nil && !reflect.DeepEqual(info.Certificate, want) {
				t.Errorf("a socket's certificate: %+v", info.Certificate)
			} else if info.Certificate != nil {
				with++
			}
		}
		if with != 5 {
			t.Errorf("%d sockets have a certificate, want 5", with)
		}
	})
}

// dialAfterPage connects a client on a connection that has fetched a page before.
func dialAfterPage(t *testing.T, addr string, config *tls.Config) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, r.Body)
	if _, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil); err != nil {
		t.Fatal(err)
	}
}

// TestClientCertificateRequired: a client without a certificate, or with a wrong one, is refused on every transport.
func TestClientCertificateRequired(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		authority := certtest.New(t)
		o.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Server()}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
		o.ClearText = channels.ClearTextRefuse
		seen := make(visitors, 10)
		s := serve(t, o, channels.SocketOptions{Connect: seen.connect, LongPoll: longPolling}, room())
		past := time.Now().Add(-time.Minute)
		long := make([]string, 300)
		for i := range long {
			long[i] = fmt.Sprintf("host-%d.example.org", i)
		}
		client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for name, c := range map[string]struct {
			own  []tls.Certificate
			want string // in the client's error
		}{
			"missing":               {nil, "remote error: tls: "},
			"of another authority":  {[]tls.Certificate{certtest.New(t).Client("ada")}, "unknown certificate authority"},
			"expired":               {[]tls.Certificate{authority.Issue(&x509.Certificate{NotBefore: past.Add(-time.Hour), NotAfter: past, ExtKeyUsage: client})}, "expired certificate"},
			"not yet valid":         {[]tls.Certificate{authority.Issue(&x509.Certificate{NotBefore: past.Add(time.Hour), NotAfter: past.Add(2 * time.Hour), ExtKeyUsage: client})}, "expired certificate"},
			"of a server":           {[]tls.Certificate{authority.Server()}, "bad certificate"},
			"with too many names":   {[]tls.Certificate{authority.Issue(&x509.Certificate{DNSNames: long, ExtKeyUsage: client})}, "bad certificate"},
			"with somebody's key":   {[]tls.Certificate{{Certificate: authority.Client("ada").Certificate, PrivateKey: authority.Client("bob").PrivateKey}}, ""},
			"right, which gets in":  {[]tls.Certificate{authority.Client("ada")}, "none"},
			"right, of another one": {[]tls.Certificate{authority.Client("bob")}, "none"},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := authority.Trusting()
				config.MinVersion, config.MaxVersion = version, version
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whoever the server trusts
					if len(c.own) == 0 {
						return new(tls.Certificate), nil
					}
					return &c.own[0], nil
				}
				if c.want == "none" {
					dialTLS(t, s.addr, config)
					if v := <-seen; v[0] == nil {
						t.Errorf("%s, %x: Connect did not see it", name, version)
					}
				} else if err := toldTo(s.addr, config); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, %x: %v, want %q", name, version, err, c.want)
				}
			}
		}
	})
}

// toldTo returns the error of a client. With TLS 1.3, its handshake is over before the server sends the alert, which
// must reach the client although it has sent a request meanwhile.
func toldTo(addr string, config *tls.Config) error {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") // the server may have closed
	_, err = c.Read(make([]byte, 1))
	return err
}

// TestForwardedCertificate: the node that serves a client sees the certificate that it has
// shown to another one.
func TestForwardedCertificate(t *testing.T) {
	authority := certtest.New(t)
	own, want := identified(authority)
	for _, insecure := range []bool{false, true} {
		f := joinFleet(t, 3, insecure, channels.Options{Loops: 2, TLS: &tls.Config{
			Certificates: []tls.Certificate{authority.Server()}, ClientCAs: authority.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		}}, channels.SocketOptions{}, rooms)
		w := openWard(t, f)
		expect := func(way string, want *channels.ClientCertificate) {
			t.Helper()
			if seen := <-w.clients; !reflect.DeepEqual(seen.Certificate, want) {
				t.Errorf("%s: %+v, want %+v", way, seen.Certificate, want)
			}
		}
		dial := func(config *tls.Config) {
			t.Helper()
			c, err := tls.Dial("tcp", f.nodes[0].addr, config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := wstest.NewClient(c, "/ward/one/websocket?vsn=2.0.0", nil); err != nil {
				t.Fatal(err)
			}
		}
		dial(authority.Trusting(own))
		expect("websocket", want)
		dial(authority.Trusting())
		expect("without a certificate", nil)
		for _, http2 := range []bool{false, true} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Trusting(own), ForceAttemptHTTP2: http2}, Timeout: patience}
			t.Cleanup(client.CloseIdleConnections)
			c := &lpClient{t: t, do: client.Do, base: "https://" + f.nodes[0].addr, target: "/ward/one/longpoll?vsn=2.0.0"}
			c.open()
			expect(fmt.Sprintf("long polling, HTTP/2 %v", http2), want)
		}
	}
}
