package front

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// arrival is the handler of a connection until its first request is known. It
// collects the head of that request. Then the connection becomes a socket's, goes to
// net/http, or shakes hands for TLS. All of it belongs to the loop.
type arrival struct {
	front   *Front
	peer    netip.AddrPort
	ticket  *admission.Ticket
	node    *forward.Node // it comes from another node; nil: from a client
	wrapped bool          // its bytes came in TLS that this front speaks
	tcp     bool          // it speaks raw TCP: it came to a listener of that, or another node says so
	secure  bool          // the client has TLS, here or at the other node
	counted bool          // the connection below TLS has the ticket, or another node has not said yet whose it is
	waiting bool          // for an Attempt, or for a connection to another node
	buf     []byte        // what has come, if it came in more than one piece
	seen    int           // how much of buf was searched for the end of the head
	until   time.Time     // when the head has to be there

	certificate *forward.Certificate // of the client; nil: it has none
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, 5.1: ContentType
// handshake). No HTTP method begins with it.
const tlsHandshake = 0x16

// headTooLarge is the answer to a head above Options.HeaderBytes.
var headTooLarge = admission.TextRefusal(http.StatusRequestHeaderFieldsTooLarge, "the request header is larger than this server accepts\n")

// Why a connection was closed.
var (
	errHandshakeTimeout  = errors.New("channels: no request in time")
	errRefusedConnection = errors.New("channels: connection refused")
	errBusy              = errors.New("channels: too many TLS handshakes wait")
)

// RefusalGrace is how long a connection that was refused, or broke a protocol, has
// to take the answer before it is closed.
const RefusalGrace = time.Second

// HandleOpen counts the connection, or closes it.
func (a *arrival) HandleOpen(c *netloop.Conn) {
	o := &a.front.options
	a.until = c.Loop().Now().Add(o.HandshakeTimeout)
	c.SetDeadline(o.HandshakeTimeout)
	if a.counted {
		return
	}
	var err error
	if a.ticket, err = o.Gate.EnterPeer(a.peer.Addr(), a.front.http.makeRoom); err != nil {
		o.Log.Warn("connection refused").Err(err).Addr("address", a.peer).Write()
		c.Close(err)
	}
}

// HandleData collects the head.
func (a *arrival) HandleData(c *netloop.Conn, data []byte) {
	if a.waiting { // seldom: only clients that send before they have the answer pay for the pause
		a.buf = append(a.buf, data...)
		c.PauseRead()
		return
	}
	if len(a.buf) > 0 {
		a.buf = append(a.buf, data...)
		data = a.buf
	}
	o := &a.front.options
	if a.wrapped {
		if c.TLS().NegotiatedProtocol == http2 {
			a.handToHTTP2(c, data)
			return
		}
	} else if data[0] == tlsHandshake && c.TLS() == nil && a.node == nil {
		a.handleTLS(c, data)
		return
	}
	if a.tcp || data[0] == 0 { // no HTTP method begins with a zero byte, and every connect does
		a.handlePacket(c, data)
		return
	}
	end := websocket.HeadEnd(data, a.seen)
	switch {
	case end > 0 && end <= o.HeaderBytes:
		a.handleHead(c, data, end)
	case end < 0 && len(data) <= o.HeaderBytes:
		a.collect(c, data)
	default:
		a.refuse(c, a.front.malformed(headTooLarge, a.peer))
	}
}

// collect keeps an incomplete head. Each byte renews a connection's deadline, so
// collect sets it to what is left: a client that sends a byte now and then gets no
// more time.
func (a *arrival) collect(c *netloop.Conn, data []byte) {
	left := a.until.Sub(c.Loop().Now())
	if left <= 0 {
		c.Close(errHandshakeTimeout)
		return
	}
	c.SetDeadline(left)
	a.seen = len(data)
	if len(a.buf) == 0 {
		a.buf = append(a.buf, data...)
	}
}

// HandleTimeout closes a connection whose request has not come. A client whose request
// nobody has decided on in time is told to come again.
func (a *arrival) HandleTimeout(c *netloop.Conn) {
	if a.waiting {
		a.refuse(c, admission.Unavailable(time.Second))
		return
	}
	c.Close(errHandshakeTimeout)
}

// HandleLost implements netloop.Lost.
func (a *arrival) HandleLost(reason error) {
	a.front.options.Log.Debug("connection lost before its request").Err(reason).Addr("address", a.peer).Write()
	a.ticket.Leave()
}

// HandleClose ends the count of the connection.
func (a *arrival) HandleClose(*netloop.Conn, error) { a.ticket.Leave() }

// handleHead decides by the path of the request whose head is data[:end].
func (a *arrival) handleHead(c *netloop.Conn, data []byte, end int) {
	o := &a.front.options
	head := newHead()
	if err := head.Parse(data[:end]); err != nil {
		a.refuse(c, a.front.malformed(admission.Malformed(err), a.peer))
		return
	}
	if ref := a.identify(c, head); ref != nil {
		a.refuse(c, ref)
		return
	}
	place, ref := o.Find(head.Path)
	switch {
	case ref != nil:
		a.refuse(c, Moving(a.node != nil, ref))
	case place.Elsewhere != nil && head.WantsUpgrade():
		a.forward(c, place.Elsewhere, head, data)
	case place.Mount == nil:
		releaseHead(head, true)
		a.handToHTTP(c, data)
	default:
		a.handleHandshake(c, place.Mount, request{head: head}, data[end:])
	}
}

// identify finds out whose request it is, and refuses one without TLS, or one that
// only nodes may send.
func (a *arrival) identify(c *netloop.Conn, head *websocket.Request) *admission.Refusal {
	if a.node != nil {
		return a.takeClaim(head)
	}
	if state := c.TLS(); state != nil {
		a.secure, a.certificate = true, certificateOf(state)
		return nil
	}
	if a.peer.IsValid() {
		return a.front.refuseClearText(head, a.peer, a.tcp)
	}
	return nil
}

// handleHandshake has the handshake r, of which the head is known, admitted, here or by
// an Attempt. early came behind it.
func (a *arrival) handleHandshake(c *netloop.Conn, m Mount, r request, early []byte) {
	terms := m.Terms()
	if ref := terms.Gate.Busy(c.Loop().Now(), admission.Caller{Delay: c.Loop().Delay(), Query: r.head.RawQuery}); ref != nil {
		a.refuse(c, ref)
		return
	}
	client := a.front.options.Gate.Client(a.peer, r.head.Header["X-Forwarded-For"])
	r.terms, r.client = terms, client.Addr()
	r.handshake = m.NewHandshake(r.head, Client{Addr: client, Secure: a.secure, Certificate: a.certificate, TCP: a.tcp})
	if terms.MayBlock {
		a.attempt(c, m, r, early)
		return
	}
	accept, ref := r.admit(context.Background())
	a.finish(c, r, accept, ref, early)
}

// finish answers the handshake r and, unless it was refused, makes the connection
// the socket's. Frames that came with the handshake are handled.
func (a *arrival) finish(c *netloop.Conn, r request, accept websocket.Accept, ref *admission.Refusal, early []byte) {
	defer r.release()
	if ref != nil {
		a.refuse(c, ref)
		return
	}
	var err error
	var ticket *admission.Ticket
	if a.ticket, err = a.front.options.Gate.EnterClient(a.ticket, r.client); err == nil {
		ticket, err = r.terms.Gate.EnterGuest(a.ticket, r.client)
	}
	if err != nil {
		a.refuse(c, admission.Unavailable(time.Second))
		return
	}
	r.handshake.Open(c, accept, ticket)
	if len(early) > 0 && c.IsOpen() {
		c.Handler().HandleData(c, early)
	}
}

// refuse answers a request that is not served, and ends the connection. Nothing
// that follows on it is read.
func (a *arrival) refuse(c *netloop.Conn, r *admission.Refusal) { sendRefusal(c, r, a.tcp) }

// sendRefusal answers a client, in a packet if it speaks raw TCP, and ends the connection.
func sendRefusal(c *netloop.Conn, r *admission.Refusal, tcp bool) {
	frame := netloop.NewFrame(0)
	if tcp {
		frame.SetBytes(appendRefused(frame.Bytes(), r))
	} else {
		frame.SetBytes(r.Bytes())
	}
	c.Send(frame)
	c.CloseAfterFlush(errRefusedConnection, RefusalGrace)
}

// handToHTTP gives the connection, and all that was read of it, to net/http.
func (a *arrival) handToHTTP(c *netloop.Conn, data []byte) {
	o, isTLS := &a.front.options, c.TLS()
	if !o.Gate.EnterHTTP(a.front.http.makeRoom) {
		o.Log.Warn("connection refused").Err(admission.ErrTooManyHTTP).Addr("address", a.peer).Write()
		c.Close(admission.ErrTooManyHTTP) // without an answer, which would keep its place for a while
		return
	}
	conn, err := c.Detach()
	if err != nil {
		o.Gate.LeaveHTTP()
		o.OnLost(err)
		c.Close(err)
		return
	}
	counted := &countedConn{Conn: conn, ticket: a.ticket, http: o.Gate, unread: append([]byte(nil), data...)}
	a.front.http.conns.put(&httpConn{countedConn: counted, front: a.front, tls: isTLS, node: a.node})
}
