package front

import (
	"crypto/tls"
	"net/http"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// acmeTLS is what a certificate authority offers that tests whether this server has a
// name (RFC 8737). The certificate is the answer.
const acmeTLS = "acme-tls/1"

// served returns a configuration as the front serves it: with the protocols of a port, and
// without clients that cannot be forwarded.
func served(c *tls.Config, protocols ...string) *tls.Config {
	own := c.Clone()
	own.NextProtos = slices.Clone(protocols)
	if slices.Contains(c.NextProtos, acmeTLS) {
		own.NextProtos = append(own.NextProtos, acmeTLS)
	}
	own.VerifyConnection = func(state tls.ConnectionState) error {
		if err := checkCertificate(&state); err != nil || c.VerifyConnection == nil {
			return err
		}
		return c.VerifyConnection(state)
	}
	if choose := c.GetConfigForClient; choose != nil {
		own.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen != nil {
				chosen = served(chosen, protocols...)
			}
			return chosen, err
		}
	}
	return own
}

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
		body := plainBody
		if a.tcp {
			body = tlsToTCPBody
		}
		sendRefusal(c, admission.TextRefusal(http.StatusBadRequest, body), false)
		return
	}
	if !o.Gate.AdmitTLS(o.Loops.HandshakeDelay()) {
		c.Close(errBusy) // HTTP is not spoken yet
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
	secured, config := &arrival{front: a.front, peer: a.peer, counted: true, wrapped: true, tcp: a.tcp}, a.front.tls
	if a.tcp {
		config = a.front.tcpTLS
	}
	if err := o.Loops.Adopt(tls.Server(wire, config), nil, secured); err != nil {
		o.Log.Debug("connection lost before its TLS handshake").Err(err).Write()
	}
}
