package channels

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// front is the handler of a connection until it is known what it wants: it
// collects the head of the first request and then makes the connection a
// socket's, hands it to net/http, or begins TLS.
type front struct {
	endpoint *Endpoint
	peer     netip.AddrPort
	client   netip.Addr // peer's, or whom a trusted proxy names; once the head is read
	ticket   *ticket
	counted  bool      // it has its ticket from the connection that TLS runs over
	buf      []byte    // what has come, once it came in more than one piece
	seen     int       // of buf, searched for the end of the head
	until    time.Time // when the head has to be there
	asking   bool      // Connect runs, on a goroutine
}

// tlsHandshake is the first byte of a TLS connection: RFC 8446 section 5.1,
// ContentType handshake. No HTTP method begins with it.
const tlsHandshake = 0x16

// HandleOpen counts the connection.
func (f *front) HandleOpen(c *netloop.Conn) {
	timeout := f.endpoint.limits.HandshakeTimeout
	f.until = c.Loop().Now().Add(timeout)
	c.SetDeadline(timeout)
	if f.counted {
		return
	}
	var err error
	f.ticket, err = f.endpoint.enterPeer(f.peer.Addr())
	if errors.Is(err, errTooManyConnections) && f.endpoint.fallback.makeRoom() {
		f.ticket, err = f.endpoint.enterPeer(f.peer.Addr())
	}
	if err != nil {
		f.endpoint.log.Warn("connection refused").Err(err).Addr("address", f.peer).Write()
		c.Close(err)
	}
}

// HandleData collects the head.
func (f *front) HandleData(c *netloop.Conn, data []byte) {
	if f.asking { // seldom, so that only who does not wait for the answer pays for the pause
		f.buf = append(f.buf, data...)
		c.PauseRead()
		return
	}
	if len(f.buf) > 0 {
		f.buf = append(f.buf, data...)
		data = f.buf
	}
	if data[0] == tlsHandshake && c.TLS() == nil {
		if f.endpoint.options.TLS == nil {
			f.refuseTLS(c)
			return
		}
		f.beginTLS(c, data)
		return
	}
	end := websocket.HeadEnd(data, f.seen)
	switch {
	case end > 0 && end <= f.endpoint.limits.HeaderBytes:
		f.handleHead(c, data, end)
	case end < 0 && len(data) <= f.endpoint.limits.HeaderBytes:
		f.collect(c, data)
	default:
		f.refuse(c, f.endpoint.malformed(headTooLarge, f.peer))
	}
}

// collect keeps an incomplete head. A connection's deadline begins anew with
// every byte, so what is left of it is set here: one that drips would stay.
func (f *front) collect(c *netloop.Conn, data []byte) {
	left := f.until.Sub(c.Loop().Now())
	if left <= 0 {
		c.Close(errHandshakeTimeout)
		return
	}
	c.SetDeadline(left)
	f.seen = len(data)
	if len(f.buf) == 0 {
		f.buf = append(f.buf, data...)
	}
}

// HandleTimeout ends a connection that has not said what it wants.
func (f *front) HandleTimeout(c *netloop.Conn) { c.Close(errHandshakeTimeout) }

// HandleClose ends the count.
func (f *front) HandleClose(*netloop.Conn, error) { leave(f.ticket) }

// handleHead decides by the path. The head is data[:end].
func (f *front) handleHead(c *netloop.Conn, data []byte, end int) {
	e, head, rest := f.endpoint, data[:end], data[end:]
	h := newHello()
	request := &h.head
	if err := request.Parse(head); err != nil {
		f.refuse(c, e.malformed(refusalFor(err), f.peer))
		return
	}
	if c.TLS() == nil {
		if ref := f.clearText(request); ref != nil {
			f.refuse(c, ref)
			return
		}
	}
	m := e.mountAt(request.Path)
	if m == nil && e.pollAt(request.Path) == nil { // the endpoint's own are found first
		var ref *refusal
		if m, _, ref = e.routed(request.Path); ref != nil {
			f.refuse(c, ref)
			return
		}
	}
	if m == nil {
		f.handToHTTP(c, data)
		return
	}
	e = m.endpoint
	if ref := e.busy(); ref != nil {
		f.refuse(c, ref)
		return
	}
	w := newWebsocketConn(e, m)
	r := h.connectRequest(c.TLS() != nil)
	r.RemoteAddr = f.endpoint.clientAddr(f.peer, r.Header)
	f.client = r.RemoteAddr.Addr()
	if m.options.Connect == nil || m.options.ConnectOnLoop {
		a, ref := e.admit(context.Background(), m, request, &w.socket, r)
		if m.options.Connect == nil || m.options.ReuseRequest {
			h.release()
		}
		f.finish(c, w, a, ref, rest)
		return
	}
	f.ask(c, w, h, rest)
}

// finish answers the handshake and, unless it was refused, makes the connection
// the socket's. Frames that came with the handshake are served.
func (f *front) finish(c *netloop.Conn, w *websocketConn, a admission, ref *refusal, rest []byte) {
	if ref != nil {
		f.refuse(c, ref)
		return
	}
	var err error
	if f.ticket, err = f.endpoint.enterClient(f.ticket, f.client); err == nil {
		w.ticket, err = w.socket.endpoint.enterGuest(f.ticket, f.client)
	}
	if err != nil {
		f.refuse(c, unavailable("1"))
		return
	}
	c.SetHandler(w)
	w.open(c, w.agree(a))
	if len(rest) > 0 && c.IsOpen() {
		w.HandleData(c, rest)
	}
}

// refuse answers a request that is not served, and ends the connection: what
// may follow on it is not read.
func (f *front) refuse(c *netloop.Conn, r *refusal) {
	frame := netloop.NewFrame(0)
	frame.SetBytes(websocket.AppendRefusal(nil, r.status, r.header, []byte(r.body)))
	c.Send(frame)
	c.CloseAfterFlush(errRefusedConnection, refusalGrace)
}

// handToHTTP gives the connection, with all that was read of it, to net/http.
func (f *front) handToHTTP(c *netloop.Conn, data []byte) {
	isTLS := c.TLS()
	if !f.endpoint.enterHTTP() {
		f.endpoint.log.Warn("connection refused").Err(errTooManyHTTP).Addr("address", f.peer).Write()
		c.Close(errTooManyHTTP) // as one above MaxConnections: an answer would keep its place for a while
		return
	}
	conn, err := c.Detach()
	if err != nil {
		f.endpoint.admitted.http.Add(-1)
		f.endpoint.logLost(err)
		c.Close(err)
		return
	}
	counted := &countedConn{Conn: conn, ticket: f.ticket, http: &f.endpoint.admitted, unread: append([]byte(nil), data...)}
	f.endpoint.fallback.serve(&httpConn{countedConn: counted, endpoint: f.endpoint, tls: isTLS})
}

func unavailable(retryAfter string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, header: http.Header{"Retry-After": {retryAfter}}}
}
