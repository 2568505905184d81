package forward

import (
	"encoding/base64"
	"encoding/json"
	"time"
)

// Certificate is what is known about the certificate of a client. Its JSON is a part of
// a [Claim]. channels.ClientCertificate has the same fields.
type Certificate struct {
	Subject        string    `json:"subject"`
	CommonName     string    `json:"common_name,omitempty"`
	DNSNames       []string  `json:"dns_names,omitempty"`
	EmailAddresses []string  `json:"email_addresses,omitempty"`
	URIs           []string  `json:"uris,omitempty"`
	Issuer         string    `json:"issuer"`
	Serial         string    `json:"serial"`
	Fingerprint    string    `json:"fingerprint"`
	NotAfter       time.Time `json:"not_after"`
}

// Size returns the bytes that c adds to a claim.
func (c *Certificate) Size() int { return len(c.encode()) }

func (c *Certificate) encode() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // a year above 9999, which X.509 does not have
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func decodeCertificate(text string) (*Certificate, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrClaim
	}
	c := new(Certificate)
	if err := json.Unmarshal(decoded, c); err != nil {
		return nil, ErrClaim
	}
	return c, nil
}
