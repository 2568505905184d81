package hooks

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// Errors of Verify.
var (
	// ErrNotSigned means that the request was signed with none of the secrets.
	ErrNotSigned = errors.New("hooks: the request has no valid signature")
	// ErrTooOld means that the time of the signature is more than five minutes in the past or in the future.
	ErrTooOld = errors.New("hooks: the request was signed too long ago, or the clocks differ")
)

// maxRequest bounds the body of a request for Verify, in bytes.
const maxRequest = 8 << 20

// Verify is for back ends in Go. It reads the body of a request and checks its signature. While you replace a secret,
// pass the old and the new one.
func Verify(r *http.Request, secrets ...string) (body []byte, err error) {
	keys := make([]webhook.Secret, len(secrets))
	for i, text := range secrets {
		if keys[i], err = webhook.ParseSecret(text); err != nil {
			return nil, fielderr.New("", "the secret %v", err)
		}
	}
	if body, err = io.ReadAll(io.LimitReader(r.Body, maxRequest)); err != nil {
		return nil, err
	}
	switch webhook.Verify(r.Header, body, time.Now(), keys...) {
	case nil:
		return body, nil
	case webhook.ErrTooOld: //nolint:errorlint // it is not wrapped
		return nil, ErrTooOld
	}
	return nil, ErrNotSigned
}

// NewSecret returns a random secret.
func NewSecret() string { return webhook.NewSecret() }
