package auth

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netguard"
)

// client returns an HTTP client with bounded redirects, time and size.
func (j JWKS) client() *http.Client {
	return &http.Client{
		Transport: boundedTransport{netguard.NewTransport(netguard.Options{PublicOnly: j.PublicOnly, DialTimeout: time.Duration(j.Timeout)})},
		Timeout:   time.Duration(j.Timeout),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || !j.trusts(r.URL) {
				return errors.New("redirected too often, or to an address without TLS")
			}
			return nil
		},
	}
}

// boundedTransport cuts answers off at maxJWKSBytes, which makes them invalid
// JSON.
type boundedTransport struct{ *netguard.Transport }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxJWKSBytes), answer.Body}
	return answer, nil
}
