package bearer

import (
	"net/http"
	"testing"
)

func TestToken(t *testing.T) {
	for field, want := range map[string]struct {
		token string
		ok    bool
	}{
		"Bearer mk_1":   {"mk_1", true},
		"bearer mk_1":   {"mk_1", true},
		"BEARER  mk_1 ": {"mk_1", true},
		"Bearer":        {"", true},
		"Bearer ":       {"", true},
		"Basic mk_1":    {"", false},
		"mk_1":          {"", false},
		"Bearermk_1":    {"", false},
		"":              {"", false},
	} {
		r := &http.Request{Header: http.Header{"Authorization": {field}}}
		if token, ok := Token(r); token != want.token || ok != want.ok {
			t.Errorf("%q: %q, %v; want %q, %v", field, token, ok, want.token, want.ok)
		}
	}
	if _, ok := Token(new(http.Request)); ok {
		t.Error("a request without the field has a token")
	}
}
