package front

import (
	"crypto/tls"
	"net/http"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// plainBody is what a client is told that speaks TLS to a port without it.
const plainBody = "this port speaks plain HTTP: use http:// or ws://, or configure TLS\n"

// handleTLS begins the TLS handshake whose first bytes are data. A goroutine of
// the loops runs it, and the connection then comes back as an arrival with what was
// inside.
//
// A port without TLS answers in HTTP: clients then say what is wrong ("server gave
// HTTP response to HTTPS client" in Go, "wrong version number" in OpenSSL), which
// they do not after an alert.
func (a *arrival) handleTLS(c *netloop.Conn, data []byte) {
	o := &a.front.options
	if o.TLS == nil {
		o.Gate.Refusals.Malformed.Add(1)
		o.Log.Warn("TLS client refused: this port has no TLS").Addr("address", a.peer).Write()
		a.refuse(c, admission.TextRefusal(http.StatusBadRequest, plainBody))
		return
	}
	conn, err := c.Detach()
	if err != nil {
		o.OnLost(err)
		c.Close(err)
		return
	}
	// The wire has the ticket, and is closed if the handshake fails.
	wire := netloop.NewWire(conn, append([]byte(nil), data...), a.ticket.Leave)
	secured := &arrival{front: a.front, peer: a.peer, counted: true, wrapped: true}
	if err := o.Loops.Adopt(tls.Server(wire, a.front.tls), nil, secured); err != nil {
		o.Log.Debug("connection lost before its TLS handshake").Err(err).Write()
	}
}
