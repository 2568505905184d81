package websocket

import (
	"bytes"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

// Deflate is permessage-deflate (RFC 7692) as negotiated for one connection. No
// connection keeps a window between two messages (server_no_context_takeover
// and client_no_context_takeover always apply), so an idle one costs nothing,
// and one compressed frame serves all receivers of a broadcast.
type Deflate uint8

const (
	// NoDeflate means no compression.
	NoDeflate Deflate = 0
	// fullWindow is the largest server_max_window_bits, and the window that
	// compress/flate always uses. Values from 8 to 15 are what the client asked
	// for.
	fullWindow Deflate = 15
	// freeWindow means that the client did not ask for a window size.
	freeWindow Deflate = 16
)

// Takes reports whether a message of n bytes should be compressed for this
// connection. Without context takeover no distance exceeds the message's size,
// so messages that are longer than the client's window are not compressed.
func (d Deflate) Takes(n int) bool {
	return d != NoDeflate && n >= minDeflate && n <= maxDeflate && (d >= fullWindow || n <= 1<<d)
}

// NegotiateDeflate accepts the first offer of permessage-deflate that can be
// met (RFC 7692, 5 and 7.1), and returns NoDeflate if there is none. It ignores
// an offer with an unknown, repeated or invalid parameter, and a header that is
// not a list of extensions.
func (r *Request) NegotiateDeflate() Deflate {
	var offers []httphead.Option
	for _, value := range r.Header["Sec-Websocket-Extensions"] {
		var ok bool
		// httphead does not treat a tab as white space. No legal quoted value
		// contains one.
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

// parseOffer checks one offer. wsflate accepts what RFC 7692, 7.1 forbids: a
// second client_max_window_bits without a value, and leading zeros.
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

// header returns the header field that answers the offer.
// server_max_window_bits must be named if it was offered;
// client_max_window_bits is left out, so the client may use any window.
func (d Deflate) header() string {
	p := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
	if d <= fullWindow {
		p.ServerMaxWindowBits = wsflate.WindowBits(d)
	}
	var b strings.Builder
	b.WriteString("Sec-WebSocket-Extensions: ")
	// Writing to a Builder does not fail.
	_, _ = httphead.WriteOptions(&b, []httphead.Option{p.Option()})
	b.WriteString("\r\n")
	return b.String()
}
