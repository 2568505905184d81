package forward

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func newNode(t testing.TB, secret string, insecure bool) *Node {
	t.Helper()
	n, err := New(Options{Name: "node-1", Secret: []byte(strings.Repeat(secret, 32)), Insecure: insecure, Find: func(uint64) (string, string, bool) { return "", "", false }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

var claims = []Claim{
	{},
	{Peer: netip.MustParseAddrPort("192.0.2.1:4000")},
	{Peer: netip.MustParseAddrPort("[2001:db8::1%eth0]:4000"), Secure: true},
	{Peer: netip.MustParseAddrPort("192.0.2.1:4000"), Caller: "a key: with äll+sorts = of\r\ncharacters"},
	{Caller: "-"},
	{Peer: netip.MustParseAddrPort("192.0.2.1:4000"), Secure: true, Certificate: &Certificate{
		Subject: "CN=äll, with + spaces,O=a", CommonName: "äll, with + spaces", URIs: []string{"spiffe://example.org/a"},
		DNSNames: []string{"a.example", "b.example"}, Serial: "1f", Fingerprint: "00ff", NotAfter: time.Unix(2_000_000_000, 0).UTC(),
	}},
}

// TestClaim: a claim arrives unchanged at nodes with the same secret, and at no others.
func TestClaim(t *testing.T) {
	n, same, other := newNode(t, "a", true), newNode(t, "a", false), newNode(t, "b", true)
	for _, c := range claims {
		text := n.sign(c)
		if strings.ContainsAny(text, "\r\n") {
			t.Errorf("%+v is %q", c, text)
		}
		h := http.Header{Field: {text, "a client's own"}}
		if got, err := same.TakeClaim(h); err != nil || !reflect.DeepEqual(got, c) || len(h) != 0 {
			t.Errorf("%+v became %+v, %v; left is %v", c, got, err, h)
		}
		if _, err := other.TakeClaim(http.Header{Field: {text}}); !errors.Is(err, ErrClaim) {
			t.Errorf("a node with another secret believes %+v: %v", c, err)
		}
		for i := range text {
			changed := text[:i] + string(text[i]^1) + text[i+1:]
			if got, err := same.TakeClaim(http.Header{Field: {changed}}); err == nil {
				t.Fatalf("%q is believed, as %+v", changed, got)
			}
		}
	}
	for _, text := range []string{"", " ", "1 - http -", "1 - http - ", strings.Repeat(" ", 100)} {
		if _, err := n.TakeClaim(http.Header{Field: {text}}); !errors.Is(err, ErrClaim) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := n.TakeClaim(http.Header{}); !errors.Is(err, ErrClaim) {
		t.Errorf("no claim: %v", err)
	}
	for _, signed := range []string{"2 - http -", "1 x http -", "1 - http", "1 - http - -", "1 - http - e30 -", "1 - http - e30=", "1 - http - W10", "1 - http =%"} { // as a later version may sign
		if _, err := n.TakeClaim(http.Header{Field: {signed + " " + n.mac(signed)}}); !errors.Is(err, ErrClaim) {
			t.Errorf("%q: %v", signed, err)
		}
	}
}

// TestInsertClaim: the claim is the first field, whatever the client sent.
func TestInsertClaim(t *testing.T) {
	n := newNode(t, "a", true)
	for request, want := range map[string][2]string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nmore":      {"GET / HTTP/1.1\r\n", "Host: a\r\n\r\nmore"},
		"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n":      {"\r\nGET / HTTP/1.1\r\n", "Host: a\r\n\r\n"},
		"GET / HTTP/1.1\r\n\r\n":                     {"GET / HTTP/1.1\r\n", "\r\n"},
		"GET / HTTP/1.1\r\n" + Field + ": x\r\n\r\n": {"GET / HTTP/1.1\r\n", Field + ": x\r\n\r\n"},
	} {
		got := n.insertClaim([]byte(request), claims[1])
		if full := want[0] + Field + ": " + n.sign(claims[1]) + "\r\n" + want[1]; string(got) != full {
			t.Errorf("%q became %q", request, got)
		}
	}
}

func FuzzClaim(f *testing.F) {
	n := newNode(f, "a", true)
	for _, c := range claims {
		f.Add(n.sign(c))
	}
	f.Fuzz(func(t *testing.T, text string) {
		signed := text + " " + n.mac(text)
		c, err := n.TakeClaim(http.Header{Field: {signed}})
		if err != nil {
			return
		}
		if again, err := n.TakeClaim(http.Header{Field: {n.sign(c)}}); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q is %+v, which is sent as %q and becomes %+v, %v", text, c, n.sign(c), again, err)
		}
		if bytes.ContainsAny([]byte(n.sign(c)), "\r\n") {
			t.Errorf("%q", n.sign(c))
		}
	})
}
