package front

import (
	"context"
	"net/http"
	"net/netip"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/packet"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// request is a request for a WebSocket until it is answered.
type request struct {
	terms     Terms
	head      *websocket.Request
	connect   *packet.Request // of a client over raw TCP, from which head was made; nil: it speaks HTTP
	client    netip.Addr
	handshake Handshake
}

// admit makes the checks of a handshake in the order of Phoenix
// (lib/phoenix/transports/websocket.ex): method, origin, token, subprotocols,
// version and connect, and only then whether it is an upgrade at all. It blocks as
// long as the application's Connect does.
func (r *request) admit(ctx context.Context) (accept websocket.Accept, _ *admission.Refusal) {
	head, refused := r.head, &r.terms.Gate.Refusals
	if head.Method != http.MethodGet || websocket.CheckQuery(head.RawQuery) != nil {
		refused.Malformed.Add(1)
		return accept, admission.BadRequest
	}
	if ref := r.handshake.CheckOrigin(); ref != nil {
		return accept, ref
	}
	token := r.token()
	if r.connect == nil {
		var ref *admission.Refusal
		if accept.Protocol, token, ref = r.terms.Subprotocols.Negotiate(head.Protocols(), head.Header); ref != nil {
			refused.Protocol.Add(1)
			return accept, ref
		}
	}
	if ref := r.handshake.Connect(ctx, token); ref != nil || r.connect != nil {
		return accept, ref
	}
	if err := head.CheckUpgrade(); err != nil {
		refused.Malformed.Add(1)
		return accept, admission.Malformed(err)
	}
	accept.Key = head.Key()
	if r.terms.Compress {
		accept.Deflate = head.NegotiateDeflate()
	}
	return accept, nil
}

// token returns the token in a connect if the socket takes one, as it would in the place
// of a subprotocol; nil if the client speaks HTTP.
func (r *request) token() *string {
	if r.connect == nil || !r.terms.Subprotocols.AuthToken {
		return nil
	}
	return r.connect.Token
}

// release ends the handshake and gives its memory to the next.
func (r *request) release() {
	r.handshake.Release()
	releaseHead(r.head, r.terms.ReuseHead)
}

// heads are parsed heads that are used again: their maps and slices would be most
// of the garbage of a handshake.
var heads = sync.Pool{New: func() any { return new(websocket.Request) }}

// maxReusedFields is the number of header fields above which a map is not used
// again: it would stay large.
const maxReusedFields = 32

func newHead() *websocket.Request { return heads.Get().(*websocket.Request) }

// releaseHead gives h to the next handshake, with its map and slices if reuse.
func releaseHead(h *websocket.Request, reuse bool) {
	resetHead(h, reuse)
	heads.Put(h)
}

func resetHead(h *websocket.Request, reuse bool) {
	if !reuse || len(h.Header) > maxReusedFields {
		*h = websocket.Request{}
	}
	h.Reset()
}
