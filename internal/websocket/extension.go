package websocket

import (
	"bytes"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

// Deflate is permessage-deflate (RFC 7692) as it was agreed on for one
// connection. No connection keeps a window between two messages
// (server_no_context_takeover and client_no_context_takeover, always): an idle
// one costs nothing, and one compressed frame serves all who get a broadcast.
type Deflate uint8

const (
	// NoDeflate is no compression.
	NoDeflate Deflate = 0
	// fullWindow is the largest server_max_window_bits, and the window that
	// compress/flate always has. From 8 up to here, a Deflate is what the client
	// has asked for.
	fullWindow Deflate = 15
	// freeWindow is for a client that has not asked.
	freeWindow Deflate = 16
)

// Takes reports whether a message of n bytes is to be compressed for this
// connection. Without context takeover no distance is longer than its message,
// so a client that wants a smaller window gets it by leaving longer messages
// alone.
func (d Deflate) Takes(n int) bool {
	return d != NoDeflate && n >= minDeflate && n <= maxDeflate && (d >= fullWindow || n <= 1<<d)
}

// NegotiateDeflate picks the first offer of permessage-deflate that can be met
// (RFC 7692, 5 and 7.1); NoDeflate if there is none. An offer with a parameter
// that is unknown, repeated or has a wrong value is passed over, and of a header
// that is no list of extensions nothing is taken.
func (r *Request) NegotiateDeflate() Deflate {
	var offers []httphead.Option
	for _, value := range r.Header["Sec-Websocket-Extensions"] {
		var ok bool
		// httphead takes a tab for no white space. No quoted value that is
		// legal here has one.
		text := bytes.ReplaceAll([]byte(value), []byte("\t"), []byte(" "))
		if offers, ok = httphead.ParseOptions(text, offers); !ok {
			return NoDeflate
		}
	}
	for _, o := range offers {
		if !bytes.Equal(o.Name, wsflate.ExtensionNameBytes) {
			continue
		}
		p, ok := parseOffer(o)
		switch {
		case !ok:
			continue
		case p.ServerMaxWindowBits.Defined():
			return Deflate(p.ServerMaxWindowBits)
		}
		return freeWindow
	}
	return NoDeflate
}

// parseOffer checks one offer. wsflate lets pass what RFC 7692, 7.1 refuses: a
// client_max_window_bits beside one without a value, and leading zeros.
func parseOffer(o httphead.Option) (p wsflate.Parameters, ok bool) {
	if p.Parse(o) != nil {
		return p, false
	}
	clientBits := 0
	ok = true
	o.Parameters.ForEach(func(key, value []byte) bool {
		if string(key) == "client_max_window_bits" {
			clientBits++
		}
		ok = clientBits <= 1 && (len(value) == 0 || value[0] != '0')
		return ok
	})
	return p, ok
}

// header is the header field that answers the offer. server_max_window_bits
// has to be named if it was offered; client_max_window_bits is left out, so
// the client may use any window.
func (d Deflate) header() string {
	p := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
	if d <= fullWindow {
		p.ServerMaxWindowBits = wsflate.WindowBits(d)
	}
	var b strings.Builder
	b.WriteString("Sec-WebSocket-Extensions: ")
	// A Builder takes everything.
	_, _ = httphead.WriteOptions(&b, []httphead.Option{p.Option()})
	b.WriteString("\r\n")
	return b.String()
}
