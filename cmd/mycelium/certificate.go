package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync/atomic"
	"time"
)

// tlsFiles are the contents of a configuration's files for TLS.
type tlsFiles struct {
	certificate *tls.Certificate // nil without TLS, or if an authority issues certificates
	clientCA    *x509.CertPool   // nil if clients are not asked for certificates
	clientAuth  tls.ClientAuthType
	acmeCA      *x509.CertPool // nil for the system's authorities
	stamps      []stamp        // taken before the files were read
}

// tlsSwitch holds the TLS configuration of the main port, which may be replaced between two
// handshakes.
type tlsSwitch struct {
	authority *authority // static; nil if certificates come from files
	now       atomic.Pointer[tls.Config]
}

// modernTLS returns a configuration without a certificate that complies with Mozilla's
// "intermediate" one. By default crypto/tls also accepts CBC ciphers and P-521. The order
// of suites and curves is that of crypto/tls.
func modernTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
	}
}

// set replaces the configuration.
func (s *tlsSwitch) set(f *tlsFiles) {
	c := modernTLS()
	c.ClientCAs, c.ClientAuth = f.clientCA, f.clientAuth
	switch {
	case s.authority != nil:
		c.GetCertificate = s.authority.certificate
	case f.certificate != nil:
		c.Certificates = []tls.Certificate{*f.certificate}
	default: // no TLS
		return
	}
	s.now.Store(c)
}

// config returns the configuration for a listener, or nil without TLS.
func (s *tlsSwitch) config() *tls.Config {
	if s.now.Load() == nil {
		return nil
	}
	c := modernTLS()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s.authority != nil && isChallenge(hello) {
			return s.authority.challenges, nil
		}
		return s.now.Load(), nil
	}
	return c
}

// tlsFiles reads the files of the TLS options.
func (c *checker) tlsFiles() (f tlsFiles) {
	t := c.cfg.TLS
	f.stamps = stampsOf(&t)
	f.certificate = c.certificate()
	f.acmeCA = c.pool("tls.acme_ca", t.ACMECA)
	if f.clientCA = c.pool("tls.client_ca", t.ClientCA); f.clientCA != nil {
		f.clientAuth = clientAuths[t.ClientCert]
	}
	return f
}

// clientAuths maps names in the configuration to policies.
var clientAuths = map[string]tls.ClientAuthType{
	"require": tls.RequireAndVerifyClientCert,
	"request": tls.VerifyClientCertIfGiven,
}

// certificate reads the certificate and its key. It returns nil if no certificate is configured.
func (c *checker) certificate() *tls.Certificate {
	files := c.cfg.TLS
	if files.Cert == "" || files.Key == "" { // Load refuses one without the other
		return nil
	}
	cert, certErr := os.ReadFile(files.Cert)
	key, keyErr := os.ReadFile(files.Key)
	if certErr != nil {
		c.add("%s: %q cannot be read: %v", c.cfg.Name("tls.cert"), files.Cert, withoutPath(certErr))
	}
	if keyErr != nil {
		c.add("%s: the file cannot be read: %v", c.cfg.Name("tls.key"), withoutPath(keyErr))
	}
	if certErr != nil || keyErr != nil {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.add("%s and %s: %v", c.cfg.Name("tls.cert"), c.cfg.Name("tls.key"), err)
		return nil
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		c.warn("%s: the certificate expired on %s, so clients refuse it", c.cfg.Name("tls.cert"), end.UTC().Format(time.RFC3339))
	}
	return &pair
}

// pool reads certificates of authorities. It returns nil if there is no file.
func (c *checker) pool(option, file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		c.add("%s: %q cannot be read: %v", c.cfg.Name(option), file, withoutPath(err))
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		c.add("%s: %q has no certificate in PEM form", c.cfg.Name(option), file)
		return nil
	}
	return pool
}
