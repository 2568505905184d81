package admission

import (
	"net/http"
	"testing"
)

func TestOriginMatches(t *testing.T) {
	for _, c := range []struct {
		allowed, origin string
		want            bool
	}{
		{"https://example.com", "https://example.com", true},
		{"https://example.com", "https://example.com:443", true},
		{"https://example.com", "https://EXAMPLE.COM", true},
		{"https://example.com", "http://example.com", false},
		{"https://example.com", "https://example.com:444", false},
		{"https://example.com", "https://www.example.com", false},
		{"https://example.com", "https://example.com@evil.com", false},
		{"https://example.com", "null", false},
		{"//example.com", "http://example.com", true},
		{"//example.com", "https://example.com:1234", true},
		{"//*.example.com", "http://a.example.com", true},
		{"//*.example.com", "https://a.b.example.com:99", true},
		{"//*.example.com", "http://example.com", true}, // as in Phoenix
		{"//*.example.com", "http://notexample.com", false},
		{"//*.example.com", "http://example.com.evil.com", false},
		{"http://example.com:8080", "http://example.com:8080", true},
		{"http://example.com:8080", "http://example.com", false},
		{"//*.example.com:9000", "https://a.example.com:9000", true},
		{"//*.example.com:9000", "https://a.example.com", false},
		{"http://[0:0::1]", "http://[::1]", true},
		{"tauri://localhost", "tauri://localhost", true},
		{"tauri://localhost", "ionic://localhost", false},
		{"null", "null", true},
		{"null", "nulls", false},
		{"null", "data:x", false},
		{"file://", "file://", true},
		{"file://", "null", false},
	} {
		place, err := ParseOrigin(c.allowed)
		if err != nil {
			t.Fatal(err)
		}
		if got := place.Matches(RequestOrigin(http.Header{"Origin": {c.origin}})); got != c.want {
			t.Errorf("%s matches %s: %v, want %v", c.allowed, c.origin, got, c.want)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	for _, s := range []string{"", "example.com", "localhost:4000", "https://", "/path", "data:x", "http://a b", "nulls"} {
		if place, err := ParseOrigin(s); err == nil {
			t.Errorf("%q is parsed as %+v", s, place)
		}
	}
}

// A header that is no URL is an origin that nothing matches, not none.
func TestRequestOrigin(t *testing.T) {
	if o := RequestOrigin(http.Header{}); o != nil {
		t.Errorf("no header: %v", o)
	}
	if o := RequestOrigin(http.Header{"Origin": {"http://[", "http://example.com"}}); o == nil || o.Host != "" {
		t.Errorf("no URL: %v", o)
	}
}

func TestEqualHosts(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"localhost", "LOCALHOST", true}, {"::1", "0:0::1", true}, {"::ffff:127.0.0.1", "127.0.0.1", true},
		{"::1", "::2", false}, {"example.com", "www.example.com", false}, {"1.2.3.4", "example.com", false},
	} {
		if got := EqualHosts(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
