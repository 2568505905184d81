package channels

import (
	"context"
	"net/url"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// handshake is a client that connects by WebSocket or raw TCP. It implements
// front.Handshake.
type handshake struct {
	conn    *connection
	request Request
	// What request points to.
	url    url.URL
	params Params
}

// handshakes are kept for reuse. See SocketOptions.ReuseRequest.
var handshakes = sync.Pool{New: func() any { return new(handshake) }}

// maxReusedParams is the number of parameters above which a handshake is not
// reused, because its map would stay large.
const maxReusedParams = 32

// Terms implements front.Mount.
func (m *mount) Terms() front.Terms {
	e, o := m.endpoint, &m.options
	return front.Terms{
		Gate: e.gate, Log: e.log, HandshakeTimeout: e.limits.HandshakeTimeout,
		Subprotocols: admission.Subprotocols{Accepted: o.Subprotocols, AuthToken: o.AuthToken},
		Compress:     o.Compress,
		MayBlock:     o.Connect != nil && !o.ConnectOnLoop,
		ReuseHead:    o.reusesRequest(),
	}
}

// reusesRequest reports whether a Request may be reused, because only strings
// of it are kept.
func (o *SocketOptions) reusesRequest() bool { return o.Connect == nil || o.ReuseRequest }

// Spawn implements front.Mount.
func (m *mount) Spawn(a *front.Attempt) { m.endpoint.spawn((*connectJob)(a)) }

// connectJob is a front.Attempt as a job.
type connectJob front.Attempt

func (j *connectJob) do(*item) { (*front.Attempt)(j).Run() }

// NewHandshake implements front.Mount. It makes the Request for Connect from a
// parsed head.
func (m *mount) NewHandshake(head *websocket.Request, from front.Client) front.Handshake {
	h := handshakes.Get().(*handshake)
	if h.params == nil {
		h.params = make(Params)
	}
	h.params.parse(head.RawQuery)
	h.url = url.URL{Scheme: scheme(from.Secure), Host: head.Host, Path: head.Path, RawQuery: head.RawQuery}
	h.request = Request{
		Params: h.params, URL: &h.url, Header: head.Header, RemoteAddr: from.Addr, Transport: transportWebsocket,
		Certificate: (*ClientCertificate)(from.Certificate),
	}
	if from.TCP {
		h.request.Transport, h.conn = transportTCP, newTCPConn(m.endpoint, m)
	} else {
		h.conn = newWebsocketConn(m.endpoint, m)
	}
	return h
}

// scheme returns the scheme of a Request's URL.
func scheme(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

// CheckOrigin implements front.Handshake.
func (h *handshake) CheckOrigin() *admission.Refusal {
	return h.conn.socket.mount.checkOrigin(&h.request)
}

// Connect implements front.Handshake.
func (h *handshake) Connect(ctx context.Context, token *string) *admission.Refusal {
	h.request.authToken = token
	return h.conn.socket.connect(ctx, &h.request)
}

// Open implements front.Handshake.
func (h *handshake) Open(c *netloop.Conn, accept websocket.Accept, t *admission.Ticket) {
	switch conn := h.conn.socket.transport.(type) {
	case *websocketConn:
		conn.openWebsocket(c, accept, t)
	case *tcpConn:
		conn.openTCP(c, t)
	}
}

// Release frees h for the next client, unless Connect may have kept something
// of it.
func (h *handshake) Release() {
	if h.conn.socket.mount.options.reusesRequest() && h.reset() {
		handshakes.Put(h)
	}
}

// reset empties h, and returns false if h is too large to be reused.
func (h *handshake) reset() bool {
	if len(h.params) > maxReusedParams {
		return false
	}
	clear(h.params)
	*h = handshake{params: h.params}
	return true
}
