package main

import (
	"crypto/tls"
	"sync/atomic"
)

// certificate is the server's certificate, which may be replaced between two
// handshakes.
type certificate struct {
	pair atomic.Pointer[tls.Certificate]
}

// tlsConfig returns nil if there is no certificate.
func (c *certificate) tlsConfig() *tls.Config {
	if c.pair.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}
