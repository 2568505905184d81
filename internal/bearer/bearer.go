// Package bearer reads the token of a request (RFC 6750, section 2.1).
package bearer

import (
	"net/http"
	"strings"
)

// Token returns what follows "Bearer" in the field Authorization of a request, which
// may be empty. It reports false if the field is missing or of another scheme.
func Token(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, section 11.1
		return "", false
	}
	return strings.TrimSpace(token), true
}
