package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// authority obtains certificates by ACME (RFC 8555), and renews them. A handshake never
// waits for it: until there is a certificate, clients are refused.
type authority struct {
	// Static.
	manager    *autocert.Manager
	log        *logging.Log
	challenges *tls.Config // for the authority's own connections, which need no client certificate
	hosts      map[string]*certified
	first      string // the name for clients that send none

	// Owned by the goroutine of serve.
	stop    context.CancelFunc // of begin
	server  *http.Server       // for HTTP-01; may be nil
	serving chan error         // receives the result of server.Serve
}

// certified is the state of a name.
type certified struct {
	ready atomic.Bool // there is a certificate, which the manager renews
}

// retryFirst and retryMost bound the pause after a failed attempt, which doubles each time.
// Let's Encrypt permits five failures an hour for each name, and the manager remembers a
// failure for a minute.
const (
	retryFirst = 2 * time.Minute
	retryMost  = time.Hour
)

// errNoCertificate is the error of TLS handshakes until there is a certificate.
var errNoCertificate = errors.New("no certificate yet; the log has the authority's reasons")

// errForeignName is the error for a name that no certificate is requested for.
var errForeignName = errors.New("this name is not in tls.acme_hosts")

// newAuthority returns nil without tls.acme_hosts.
func newAuthority(cfg *config.Config, f *tlsFiles, log *logging.Log) *authority {
	t := &cfg.TLS
	if !t.ACME() {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: f.acmeCA}
	a := &authority{log: log, hosts: make(map[string]*certified, len(t.ACMEHosts)), first: t.ACMEHosts[0], manager: &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: loggedCache{autocert.DirCache(cfg.ACMECacheDir()), log}, HostPolicy: autocert.HostWhitelist(t.ACMEHosts...), Email: t.ACMEEmail,
		Client: &acme.Client{
			DirectoryURL: t.ACMEDirectory, UserAgent: "mycelium/" + version(),
			HTTPClient: &http.Client{Timeout: time.Minute, Transport: challengeLogger{transport, log}},
		},
	}}
	for _, h := range t.ACMEHosts {
		a.hosts[h] = new(certified)
	}
	a.challenges = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}, GetCertificate: a.manager.GetCertificate}
	return a
}

// isChallenge reports whether an authority connects to verify a name (RFC 8737).
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}

// certificate returns the certificate for a client.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(cmp.Or(hello.ServerName, a.first), "."))
	switch c, known := a.hosts[name]; {
	case !known:
		return nil, errForeignName
	case !c.ready.Load():
		return nil, errNoCertificate
	}
	return a.ask(name)
}

// ask returns the certificate for a name, which the authority has to issue first if the cache
// does not have it. All clients get an ECDSA certificate; the manager would otherwise obtain
// a second one for clients that do not support ECDSA.
func (a *authority) ask(name string) (*tls.Certificate, error) {
	return a.manager.GetCertificate(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
}

// listen opens the port for HTTP-01, if the configuration has one.
func (a *authority) listen(address string) error {
	if a == nil || address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err = inUse(err, "tls.acme_listen"); err != nil {
		return err
	}
	a.server = &http.Server{
		Handler: withoutPort(a.manager.HTTPHandler(nil)), ErrorLog: logging.ErrorLog(a.log),
		ReadTimeout: watchTimeout, WriteTimeout: watchTimeout, IdleTimeout: watchTimeout, MaxHeaderBytes: 8 << 10,
	}
	a.serving = make(chan error, 1)
	go func() { a.serving <- a.server.Serve(l) }()
	a.log.Info("answering the certificate authority").Str("addr", l.Addr().String()).Write()
	return nil
}

// withoutPort removes the port from the host of a request, which the authority of a test
// includes.
func withoutPort(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			r.Host = host
		}
		h.ServeHTTP(w, r)
	})
}

// begin obtains the certificates that are not in the cache, and watches their renewal. The
// main port must be open.
func (a *authority) begin() {
	if a == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	for name := range a.hosts {
		go func() {
			if a.obtain(ctx, name) {
				a.watch(ctx, name)
			}
		}()
	}
}

// obtain asks until there is a certificate for a name. It returns false when ctx is done.
func (a *authority) obtain(ctx context.Context, name string) bool {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		c, err := a.ask(name)
		if err == nil {
			a.hosts[name].ready.Store(true)
			a.log.Info("certificate ready").Str("host", name).Str("expires", c.Leaf.NotAfter.UTC().Format(time.RFC3339)).Write()
			return true
		}
		a.log.Error("could not obtain a certificate; clients that ask for this host are refused").
			Err(err).Str("host", name).Str("again_in", pause.String()).Write()
		if !sleep(ctx, pause) {
			return false
		}
	}
}

// watch reports a certificate that is not renewed. The manager renews at a third of its
// lifetime, and does not report failures.
func (a *authority) watch(ctx context.Context, name string) {
	for sleep(ctx, time.Hour) {
		c, err := a.ask(name)
		if err != nil || time.Until(c.Leaf.NotAfter) > c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)/4 {
			continue
		}
		a.log.Error("the certificate has not been renewed yet; check that tls.acme_directory can be reached, and the authority's reasons in the log above").
			Str("host", name).Str("expires", c.Leaf.NotAfter.UTC().Format(time.RFC3339)).Write()
	}
}

// sleep returns false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// close closes the port for HTTP-01. Attempts to obtain certificates end with the process.
func (a *authority) close(ctx context.Context) error {
	if a == nil {
		return nil
	}
	if a.stop != nil {
		a.stop()
	}
	if a.server == nil {
		return nil
	}
	err := a.server.Shutdown(ctx)
	if served := <-a.serving; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// loggedCache is the cache of certificates. It logs what the manager does not report: that a
// certificate was issued or could not be stored.
type loggedCache struct {
	autocert.Cache
	log *logging.Log
}

// Put implements autocert.Cache.
func (k loggedCache) Put(ctx context.Context, key string, data []byte) error {
	err := k.Cache.Put(ctx, key, data)
	switch {
	case err != nil:
		k.log.Error("could not store a certificate or key in tls.acme_cache; it will be requested again after a restart, and authorities issue only a few a week").
			Err(err).Str("key", key).Write()
	case !strings.Contains(key, "+"): // neither the account nor a challenge
		k.log.Info("certificate issued").Str("host", key).Write()
	}
	return err
}

// challengeLogger logs why the authority could not verify a name, which the manager does not
// report.
type challengeLogger struct {
	http.RoundTripper
	log *logging.Log
}

// maxACME bounds an answer of the authority, in bytes.
const maxACME = 1 << 20

// RoundTrip implements http.RoundTripper.
func (r challengeLogger) RoundTrip(q *http.Request) (*http.Response, error) {
	answer, err := r.RoundTripper.RoundTrip(q)
	if err != nil || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
		return answer, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxACME))
	answer.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("reading the authority's answer: %w", err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	var authorization struct {
		Status     string
		Identifier struct{ Value string }
		Challenges []struct {
			Type  string
			Error struct{ Type, Detail string }
		}
	}
	if json.Unmarshal(body, &authorization) != nil || authorization.Status != acme.StatusInvalid {
		return answer, nil
	}
	for _, c := range authorization.Challenges {
		if c.Error.Detail != "" {
			r.log.Warn("the authority could not verify this server").
				Str("host", authorization.Identifier.Value).Str("challenge", c.Type).Str("reason", c.Error.Detail).Write()
		}
	}
	return answer, nil
}
