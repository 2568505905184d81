package channels

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// ServeHTTP serves the endpoint's sockets inside another net/http server, and
// everything else by Options.Handler. A connection that upgrades leaves
// net/http and its goroutine, and is then served as any other.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := pathOf(r)
	if m := e.mountAt(at); m != nil {
		e.upgrade(w, r, m)
		return
	}
	if m := e.pollAt(at); m != nil {
		e.serveLongPoll(w, r, m)
		return
	}
	switch m, poll, ref := e.routed(at); {
	case ref != nil:
		ref.Write(w)
		return
	case m != nil:
		m.endpoint.upgrade(w, r, m)
		return
	case poll != nil:
		poll.endpoint.serveLongPoll(w, r, poll)
		return
	}
	if e.options.Handler != nil {
		e.options.Handler.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// pathOf returns the path as front sees it, so that one path is one thing
// whoever has read it. It is empty for a path that front would refuse.
func pathOf(r *http.Request) string {
	at, _ := websocket.DecodePath(r.URL.EscapedPath())
	return at
}

// upgrade is front.handleHead for a request that net/http has read.
func (e *Endpoint) upgrade(w http.ResponseWriter, r *http.Request, m *mount) {
	// A refused handshake ends its connection, as it does in front: net/http does
	// not wait for a body then, which a handshake does not have.
	w.Header().Set("Connection", "close")
	if ref := e.gate.Busy(time.Now()); ref != nil {
		ref.Write(w)
		return
	}
	request, err := websocket.FromHTTP(r)
	if err != nil {
		e.gate.Refusals.Malformed.Add(1)
		admission.Malformed(err).Write(w)
		return
	}
	hello := &hello{head: *request}
	connect := hello.connectRequest(r.TLS != nil)
	connect.RemoteAddr = e.gate.Client(peerOf(r), r.Header["X-Forwarded-For"])
	ctx, cancel := context.WithTimeout(r.Context(), e.limits.HandshakeTimeout)
	defer cancel()
	conn := newWebsocketConn(e, m)
	a, ref := e.admit(ctx, m, &hello.head, &conn.socket, connect)
	if ref != nil {
		ref.Write(w)
		return
	}
	conn.ticket, err = e.gate.EnterGuest(nil, connect.RemoteAddr.Addr())
	if err != nil {
		admission.Unavailable("1").Write(w)
		return
	}
	e.hijack(w, conn, a, connect.RemoteAddr.Addr())
}

// peerOf returns the peer of a request's connection, zero if it has no address.
func peerOf(r *http.Request) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // a Unix socket's
		return netip.AddrPort{}
	}
	return peer
}

// hijack takes the connection of client from net/http to a loop.
func (e *Endpoint) hijack(w http.ResponseWriter, conn *websocketConn, a agreement, client netip.Addr) {
	nc, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		e.log.Error("a socket needs a connection that can be hijacked: HTTP/1.1 without a wrapper that hides it").Err(err).Write()
		conn.ticket.Leave()
		(&admission.Refusal{Status: http.StatusNotImplemented}).Write(w)
		return
	}
	nc.SetDeadline(time.Time{}) //nolint:errcheck // a broken connection shows on the loop
	leftover := make([]byte, buffered.Reader.Buffered())
	buffered.Read(leftover) //nolint:errcheck // they are in memory
	if own, ok := nc.(*httpConn); ok {
		counted, err := own.endpoint.gate.EnterClient(own.ticket, client)
		if err != nil {
			conn.ticket.Leave()
			refuseOn(own, admission.Unavailable("1"))
			return
		}
		var more []byte
		nc, more = own.release()
		leftover = append(leftover, more...)
		conn.ticket = conn.ticket.Within(counted)
	}
	accept := conn.agree(a)
	if err := e.loops.Adopt(nc, leftover, &adopted{conn, accept}); err != nil {
		e.log.Debug("connection lost in its handshake").Err(err).Write()
		accept.Release()
		conn.ticket.Leave()
	}
}

// refuseOn answers on a connection that net/http has let go of, and closes it.
func refuseOn(c net.Conn, r *admission.Refusal) {
	c.SetWriteDeadline(time.Now().Add(closeGrace)) //nolint:errcheck // the write fails then
	c.Write(r.Bytes())                             //nolint:errcheck // the client may be gone
	c.Close()
}

// beginTLS shakes hands on a goroutine of the loops' own and comes back here
// with what was inside.
func (f *front) beginTLS(c *netloop.Conn, data []byte) {
	conn, err := c.Detach()
	if err != nil {
		f.endpoint.logLost(err)
		c.Close(err)
		return
	}
	config := f.endpoint.options.TLS.Clone()
	config.NextProtos = []string{"http/1.1"} // WebSocket upgrades are HTTP/1.1's
	inner := &countedConn{Conn: conn, ticket: f.ticket, unread: append([]byte(nil), data...)}
	secured := &front{endpoint: f.endpoint, peer: f.peer, counted: true} // inner holds the ticket, and is closed if the handshake fails
	if err := f.endpoint.loops.Adopt(tls.Server(inner, config), nil, secured); err != nil {
		f.endpoint.log.Debug("connection lost before its TLS handshake").Err(err).Write()
	}
}
