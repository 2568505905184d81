package channels

import "time"

// ClientCertificate is what the certificate of a client says about it. It must not be
// modified.
type ClientCertificate struct {
	Subject        string    `json:"subject"` // the distinguished name, as in RFC 2253
	CommonName     string    `json:"common_name,omitempty"`
	DNSNames       []string  `json:"dns_names,omitempty"`
	EmailAddresses []string  `json:"email_addresses,omitempty"`
	URIs           []string  `json:"uris,omitempty"`
	Issuer         string    `json:"issuer"`      // the distinguished name of the authority
	Serial         string    `json:"serial"`      // in hexadecimal; unique for an issuer
	Fingerprint    string    `json:"fingerprint"` // SHA-256 of the certificate, in hexadecimal
	NotAfter       time.Time `json:"not_after"`   // when it expires; a connection may last longer
}

// certificateKey is the key of a socket's certificate among its assigns. Few sockets have
// one, so there is no field for it.
type certificateKey struct{}

// Certificate returns the certificate with which the client has identified itself, nil if
// there is none. See [Request.Certificate].
func (s *Socket) Certificate() *ClientCertificate {
	c, _ := s.lookup(certificateKey{})
	certificate, _ := c.(*ClientCertificate)
	return certificate
}

// keepCertificate stores the client's certificate. It must be called before the socket is
// open.
func (s *Socket) keepCertificate(c *ClientCertificate) {
	if c != nil {
		s.identify().assigns.set(certificateKey{}, c)
	}
}
