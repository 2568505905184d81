package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

// serveTLS serves the relay, with a certificate that only the file ca signs, to
// clients that know the token. resumed counts the TLS sessions that are resumed.
func serveTLS(t *testing.T) (url, tcp, ca string, resumed *atomic.Int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	resumed = new(atomic.Int64)
	endpoint, err := channels.NewEndpoint(channels.Options{TLS: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.DidResume {
				resumed.Add(1)
			}
			return nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := relay.New(endpoint, relay.Options{Topics: []string{"*"}, PresenceOff: []string{"quiet:*"}})
	endpoint.Socket("/socket", channels.SocketOptions{
		AuthToken: true,
		Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			if token, _ := r.AuthToken(); token != "secret" {
				return errors.New("who are you?")
			}
			return nil
		},
	}, r.Channels()...)
	addr, tcpAddr := listenTwice(t, endpoint)
	t.Cleanup(func() {
		if err := endpoint.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		r.Close()
	})
	_, port, _ := net.SplitHostPort(addr.String())
	_, tcpPort, _ := net.SplitHostPort(tcpAddr.String())
	return "wss://localhost:" + port + "/socket", "wss://localhost:" + tcpPort + "/socket", ca, resumed
}

// TestTLSResume: only connections that begin before the first has joined have full handshakes.
func TestTLSResume(t *testing.T) {
	url, _, ca, resumed := serveTLS(t)
	for _, resume := range []bool{false, true} {
		o := quick(Join, url)
		o.Connections, o.Topic, o.CA, o.AuthToken, o.Connecting, o.Resume = 20, "quiet:a", ca, "secret", 1, resume
		if r := execute(t, o); !r.OK {
			t.Errorf("%v %v", r.Problems, r.Errors)
		}
		if n := resumed.Load(); !resume && n != 0 || resume && n < 15 {
			t.Errorf("%d of 20 sessions were resumed, with --tls-resume=%v", n, resume)
		}
	}
}

// TestTLS runs every mode with TLS and a token, also with messages of several records.
func TestTLS(t *testing.T) {
	t.Parallel()
	url, tcp, ca, _ := serveTLS(t)
	for name, setup := range map[string]func(o *Options){
		"idle":      func(o *Options) { o.Mode, o.Heartbeat = Idle, 50*time.Millisecond },
		"broadcast": func(o *Options) { o.Mode, o.Messages, o.Duration = Broadcast, 50, 0 },
		"long":      func(o *Options) { o.Mode, o.Messages, o.Duration, o.Size = Broadcast, 5, 0, 300_000 },
		"echo":      func(o *Options) { o.Mode, o.Event = Echo, heartbeatEvent },
		"presence": func(o *Options) {
			o.Mode, o.Topic, o.JoinPayload, o.Settle = Presence, "who:a", `{"user":"u{n}"}`, 2*time.Second
		},
		"raw TCP":         func(o *Options) { o.Mode, o.TCP, o.URLs = Join, true, []string{tcp} },
		"any certificate": func(o *Options) { o.Mode, o.CA, o.Insecure = Join, "", true },
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(Idle, url)
			o.Connections, o.Topic, o.CA, o.AuthToken = 20, "quiet:a", ca, "secret"
			setup(o)
			if r := execute(t, o); !r.OK || r.Open.Connect.Count < 20 {
				t.Errorf("%v %v\n%+v", r.Problems, r.Errors, r.Run)
			}
		})
	}
}

// TestTLSErrors checks that a certificate of an unknown authority is rejected, as is a
// server without TLS.
func TestTLSErrors(t *testing.T) {
	url, _, _, _ := serveTLS(t)
	plain := startFake(t, new(fakeServer))
	for want, address := range map[string]string{
		"in the handshake of TLS: tls: failed to verify certificate": url,
		"in the handshake of TLS: ":                                  strings.Replace(plain.url, "ws://", "wss://", 1),
	} {
		r := execute(t, quick(Join, address))
		var all []string
		for text := range r.Errors {
			all = append(all, text)
		}
		if r.OK || r.Open.Failed != 3 || !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%v %v, want %s", r.Problems, r.Errors, want)
		}
	}
}
