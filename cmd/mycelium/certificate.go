package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// certificate is the server's, and may be exchanged between two handshakes.
type certificate struct {
	pair atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the pair of files; nil if there is no TLS.
func loadCertificate(c config.TLS) (*tls.Certificate, error) {
	if !c.Enabled() {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	return &pair, nil
}

// tlsConfig is nil if there is no certificate.
func (c *certificate) tlsConfig() *tls.Config {
	if c.pair.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}
