package channels

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
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
	ticket   *admission.Ticket
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
	f.ticket, err = f.endpoint.gate.EnterPeer(f.peer.Addr())
	if errors.Is(err, admission.ErrTooManyConnections) && f.endpoint.fallback.makeRoom() {
		f.ticket, err = f.endpoint.gate.EnterPeer(f.peer.Addr())
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
func (f *front) HandleClose(*netloop.Conn, error) { f.ticket.Leave() }

// handleHead decides by the path. The head is data[:end].
func (f *front) handleHead(c *netloop.Conn, data []byte, end int) {
	e, head, rest := f.endpoint, data[:end], data[end:]
	h := newHello()
	request := &h.head
	if err := request.Parse(head); err != nil {
		f.refuse(c, e.malformed(admission.Malformed(err), f.peer))
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
		var ref *admission.Refusal
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
	if ref := e.gate.Busy(time.Now()); ref != nil {
		f.refuse(c, ref)
		return
	}
	w := newWebsocketConn(e, m)
	r := h.connectRequest(c.TLS() != nil)
	r.RemoteAddr = f.endpoint.gate.Client(f.peer, r.Header["X-Forwarded-For"])
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
func (f *front) finish(c *netloop.Conn, w *websocketConn, a agreement, ref *admission.Refusal, rest []byte) {
	if ref != nil {
		f.refuse(c, ref)
		return
	}
	var err error
	if f.ticket, err = f.endpoint.gate.EnterClient(f.ticket, f.client); err == nil {
		w.ticket, err = w.socket.endpoint.gate.EnterGuest(f.ticket, f.client)
	}
	if err != nil {
		f.refuse(c, admission.Unavailable("1"))
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
func (f *front) refuse(c *netloop.Conn, r *admission.Refusal) {
	frame := netloop.NewFrame(0)
	frame.SetBytes(r.Bytes())
	c.Send(frame)
	c.CloseAfterFlush(errRefusedConnection, refusalGrace)
}

// handToHTTP gives the connection, with all that was read of it, to net/http.
func (f *front) handToHTTP(c *netloop.Conn, data []byte) {
	isTLS := c.TLS()
	if !f.endpoint.gate.EnterHTTP(f.endpoint.fallback.makeRoom) {
		f.endpoint.log.Warn("connection refused").Err(admission.ErrTooManyHTTP).Addr("address", f.peer).Write()
		c.Close(admission.ErrTooManyHTTP) // as one above MaxConnections: an answer would keep its place for a while
		return
	}
	conn, err := c.Detach()
	if err != nil {
		f.endpoint.gate.LeaveHTTP()
		f.endpoint.logLost(err)
		c.Close(err)
		return
	}
	counted := &countedConn{Conn: conn, ticket: f.ticket, http: f.endpoint.gate, unread: append([]byte(nil), data...)}
	f.endpoint.fallback.serve(&httpConn{countedConn: counted, endpoint: f.endpoint, tls: isTLS})
}

// headTooLarge refuses a head above Limits.HeaderBytes.
var headTooLarge = admission.TextRefusal(http.StatusRequestHeaderFieldsTooLarge, "the request's head is larger than this server takes\n")

// malformed notes that a request is refused for what it is, and returns r.
func (e *Endpoint) malformed(r *admission.Refusal, peer netip.AddrPort) *admission.Refusal {
	e.gate.Refusals.Malformed.Add(1)
	e.log.Debug("malformed request").Int("status", r.Status).Str("reason", r.Body).Addr("address", peer).Write()
	return r
}
