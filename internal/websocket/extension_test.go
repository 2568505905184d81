package websocket

import (
	"strings"
	"testing"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

// The answers are legal by RFC 7692, 7.1; none of a bare list is the refusal.
func TestNegotiateDeflate(t *testing.T) {
	const plain = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	for _, c := range []struct{ offer, answer string }{
		{"permessage-deflate", plain}, // handshake_deflate_plain
		{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", plain},
		{"permessage-deflate; client_max_window_bits", plain}, // browsers
		{"permessage-deflate; client_max_window_bits=10", plain},
		{"permessage-deflate;\tclient_max_window_bits", plain},
		{"\tx-webkit-deflate-frame\t,\tpermessage-deflate\t;\tserver_max_window_bits=12\t", plain + ";server_max_window_bits=12"},
		{`permessage-deflate; client_max_window_bits="15"`, plain},
		{"permessage-deflate;server_max_window_bits=15", plain + ";server_max_window_bits=15"},
		{"permessage-deflate; server_max_window_bits=9; client_max_window_bits=9", plain + ";server_max_window_bits=9"},
		{"permessage-deflate; server_max_window_bits=8", plain + ";server_max_window_bits=8"},
		{"x-webkit-deflate-frame", ""},    // handshake_deflate_other
		{"permessage-deflate; foo=1", ""}, // handshake_deflate_unknown_param
		{"permessage-deflate; foo=1, permessage-deflate", plain},
		{"x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=12", plain + ";server_max_window_bits=12"},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", plain + ";server_max_window_bits=10"},
		{"permessage-deflate; server_max_window_bits=16, permessage-deflate", plain},
		{"x-first\r\nSec-WebSocket-Extensions: permessage-deflate", plain}, // two lines
		{"permessage-deflate; server_max_window_bits", ""},
		{"permessage-deflate; server_max_window_bits=7", ""},
		{"permessage-deflate; server_max_window_bits=16", ""},
		{"permessage-deflate; server_max_window_bits=09", ""},
		{"permessage-deflate; server_max_window_bits=x", ""},
		{"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", ""},
		{"permessage-deflate; client_max_window_bits=7", ""},
		{"permessage-deflate; client_max_window_bits=010", ""},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits=9", ""},
		{"permessage-deflate; client_max_window_bits=9; client_max_window_bits", ""},
		{"permessage-deflate; server_no_context_takeover=1", ""},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"permessage-deflate; client_no_context_takeover=true", ""},
		{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
		{"permessage-deflate; a; b; c; d; e; f; g; h; i; j", ""}, // more than httphead keeps in place
		{"permessage-deflate-2, deflate", ""},
		{"!!! broken =", ""},
		{"permessage-deflate, !!! broken =", ""},
		{"", ""},
	} {
		head := goodHead("Sec-WebSocket-Extensions: " + c.offer)
		r, err := ParseRequest([]byte(head))
		if err != nil {
			t.Fatal(err)
		}
		d := r.NegotiateDeflate()
		want := plain101 + "\r\n"
		if c.answer != "" {
			want = plain101 + "Sec-WebSocket-Extensions: " + c.answer + "\r\n\r\n"
		}
		if got := AppendAccept(nil, Accept{Key: r.Key(), Deflate: d}); string(got) != want {
			t.Errorf("%q: %q, want %q", c.offer, got, want)
		}
	}
	r, err := ParseRequest([]byte(goodHead()))
	if err != nil {
		t.Fatal(err)
	}
	if d := r.NegotiateDeflate(); d != NoDeflate {
		t.Errorf("without a header: %d", d)
	}
}

// Whatever is offered, the answer is one that a strict client takes.
func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate")
	f.Add(`x; a="b\"c", permessage-deflate; client_max_window_bits="9"`)
	f.Fuzz(func(t *testing.T, offer string) {
		r := &Request{Header: map[string][]string{"Sec-Websocket-Extensions": {offer}}}
		d := r.NegotiateDeflate()
		if d == NoDeflate {
			return
		}
		if !strings.Contains(offer, wsflate.ExtensionName) || d < 8 || d > freeWindow {
			t.Fatalf("%q: %d", offer, d)
		}
		_, value, _ := strings.Cut(strings.TrimSuffix(d.header(), "\r\n"), ": ")
		options, ok := httphead.ParseOptions([]byte(value), nil)
		var p wsflate.Parameters
		if !ok || len(options) != 1 || p.Parse(options[0]) != nil || !p.ServerNoContextTakeover || !p.ClientNoContextTakeover || p.ClientMaxWindowBits != 0 {
			t.Fatalf("%q is answered by %q", offer, value)
		}
	})
}

func TestTakes(t *testing.T) {
	for _, c := range []struct {
		d    Deflate
		n    int
		want bool
	}{
		{NoDeflate, 1000, false},
		{freeWindow, minDeflate - 1, false},
		{freeWindow, minDeflate, true},
		{freeWindow, maxDeflate, true},
		{freeWindow, maxDeflate + 1, false},
		{fullWindow, 100_000, true},
		{10, 1024, true},
		{10, 1025, false},
		{8, minDeflate, false},
	} {
		if got := c.d.Takes(c.n); got != c.want {
			t.Errorf("%d, %d bytes: %v", c.d, c.n, got)
		}
	}
}
