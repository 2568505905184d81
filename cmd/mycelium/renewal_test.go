package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/keyfile"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestRenewal: files are read again when all have been replaced, once.
func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	var r renewal
	step := func(what string, want bool) {
		t.Helper()
		if got := r.due(); got != want {
			t.Errorf("%s: due %v", what, got)
		}
	}
	r.watch(&files, stampsOf(&files))
	step("without files", false)
	writeFile(t, files.Cert, "1")
	step("the first has changed", false)
	writeFile(t, files.Key, "1")
	step("the second has changed", false)
	step("nothing more has changed", true)
	step("they have been read", false)
	if err := os.Chtimes(files.Key, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	step("a file of the same size", false)
	step("nothing more", true)
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	step("a file is gone", false)
	step("for good", true)
	step("and has been missed", false)
	writeFile(t, files.Cert, "22")
	r.watch(&files, stampsOf(&files)) // a reload
	step("after a reload", false)
}

// TestCertificateRenewed: a server without SIGHUP takes new files, and keeps the old ones as
// long as the new ones are wrong. Its sockets stay, and so do the sessions of TLS.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, cert, key, 1)
	s := start(t, "serve", "--tls-cert="+cert, "--tls-key="+key, "--tls-clear=allow")
	client := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	conn, err := tls.Dial("tcp", s.addr, client)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := wstest.NewClient(conn, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Drop()
	serial := func(config *tls.Config) (n int64, resumed bool) {
		c, err := tls.Dial("tcp", s.addr, config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), c.ConnectionState().DidResume
	}
	writeFile(t, cert, "no certificate")
	waittest.For(t, "the log to say that the file is wrong", func() bool {
		return strings.Contains(s.log.String(), "the TLS files have changed but are not valid")
	})
	if n, _ := serial(&tls.Config{InsecureSkipVerify: true}); n != 1 {
		t.Errorf("certificate %d with a wrong file, want 1", n)
	}
	certify(t, cert, key, 2)
	waittest.For(t, "the new certificate", func() bool {
		n, _ := serial(&tls.Config{InsecureSkipVerify: true})
		return n == 2
	})
	tryJoin(t, socket, 1, "room:1") // of before
	if n, resumed := serial(client); !resumed {
		t.Errorf("a session is not resumed with the new certificate: %d", n)
	}
}

// TestExpiredCertificate: it is served, for some clients do not look, and there is a warning.
func TestExpiredCertificate(t *testing.T) {
	pair := certtest.New(t).Expired()
	cert, key := certtest.Files(t, &pair)
	s := start(t, "serve", "--tls-cert="+cert, "--tls-key="+key)
	if !strings.Contains(s.log.String(), "the certificate expired on ") {
		t.Errorf("%s", s.log)
	}
}

// TestClientCertificates: only clients with a certificate are served, and the API shows whose
// it is. The authorities are read again on SIGHUP.
func TestClientCertificates(t *testing.T) {
	authority := certtest.New(t)
	pair := authority.Server()
	cert, key := certtest.Files(t, &pair)
	clients, others := certtest.New(t), certtest.New(t)
	ca := clients.File()
	s := start(t, "serve", "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+ca, "--log-level=debug")
	dial := func(own ...tls.Certificate) (*wstest.Client, error) {
		c, err := tls.Dial("tcp", s.addr, authority.Trusting(own...))
		if err != nil {
			return nil, err
		}
		socket, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			c.Close()
		} else {
			t.Cleanup(func() { socket.Drop() })
		}
		return socket, err
	}
	ada, bob := clients.Client("ada"), others.Client("bob")
	socket, err := dial(ada)
	if err != nil {
		t.Fatal(err)
	}
	tryJoin(t, socket, 1, "room:1")
	api := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Trusting(ada)}}
	defer api.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr+"/api/instances/default/sockets", nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := keyfile.Find(s.environ, "https://"+s.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+own.Secret)
	answer, err := api.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	status, text := answer.StatusCode, string(body)
	if status != http.StatusOK || !strings.Contains(text, `"certificate":{"subject":"CN=ada","common_name":"ada","issuer":"CN=authority of a test","serial":"2"`) {
		t.Errorf("the API says %d %s", status, text)
	}
	for name, own := range map[string][]tls.Certificate{"no certificate": nil, "another authority's": {bob}} {
		if _, err := dial(own...); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
	waittest.For(t, "the log to say why", func() bool {
		log := s.log.String()
		return strings.Count(log, `"message":"TLS handshake failed"`) == 2 && strings.Contains(log, "client didn't provide a certificate") &&
			strings.Contains(log, "certificate signed by unknown authority")
	})
	next, err := os.ReadFile(others.File())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, ca, string(next))
	s.hangup(t)
	if _, err := dial(ada); err == nil {
		t.Error("a client of the old authority has connected")
	}
	if _, err := dial(bob); err != nil {
		t.Errorf("a client of the new authority: %v", err)
	}
	tryJoin(t, socket, 2, "room:2") // it was there before
}
