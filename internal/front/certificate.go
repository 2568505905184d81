package front

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/mycelium-rt/mycelium/internal/forward"
)

// maxCertificate bounds what a client's certificate says about it, in bytes: another node
// is told in the head of a request.
const maxCertificate = 4 << 10

// CertificateOf returns the certificate of the client that has sent a request, to this node
// or to the one that has forwarded it; nil if it has none that was verified.
func CertificateOf(r *http.Request) *forward.Certificate {
	switch {
	case Forwarded(r):
		return connOf(r).claim.Certificate
	case r.TLS == nil:
		return nil
	}
	return certificateOf(r.TLS)
}

// certificateOf returns the certificate of a client, nil without one that was verified.
func certificateOf(state *tls.ConnectionState) *forward.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	c := state.PeerCertificates[0]
	fingerprint := sha256.Sum256(c.Raw)
	names := &forward.Certificate{
		Subject: c.Subject.String(), CommonName: c.Subject.CommonName,
		DNSNames: c.DNSNames, EmailAddresses: c.EmailAddresses,
		Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16), Fingerprint: hex.EncodeToString(fingerprint[:]),
		NotAfter: c.NotAfter,
	}
	for _, u := range c.URIs {
		names.URIs = append(names.URIs, u.String())
	}
	return names
}

// checkCertificate refuses a client whose certificate says too much.
func checkCertificate(state *tls.ConnectionState) error {
	if c := certificateOf(state); c != nil && c.Size() > maxCertificate {
		return fmt.Errorf("the names in the client's certificate take %d bytes, more than %d", c.Size(), maxCertificate)
	}
	return nil
}
