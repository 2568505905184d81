package front

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// ServeForwarded serves what other nodes forward to node, on a listener of its own,
// which belongs to the front from now on. It returns netloop.ErrClosed after
// CloseListeners.
func (f *Front) ServeForwarded(l net.Listener, node *forward.Node) (net.Addr, error) {
	return f.keepListener(f.options.Loops.Serve(l, func(peer netip.AddrPort) netloop.Handler {
		return &arrival{front: f, peer: peer, node: node, counted: true}
	}))
}

// Forwarded reports whether another node has forwarded a request of net/http.
func Forwarded(r *http.Request) bool {
	c := connOf(r)
	return c != nil && c.node != nil
}

// CallerOf returns the name of the API key with which another node permitted a request
// that it forwarded, "" for all other requests.
func CallerOf(r *http.Request) string {
	if !Forwarded(r) {
		return ""
	}
	return connOf(r).claim.Caller
}

// takeClaim makes the client that the other node names the peer, and counts its
// connection if it is to become a socket's.
func (a *arrival) takeClaim(head *websocket.Request) *admission.Refusal {
	claim, err := a.node.TakeClaim(head.Header)
	if err != nil {
		a.front.options.Log.Warn("forwarded connection refused").Err(err).Addr("address", a.peer).Write()
		return admission.Forbidden
	}
	a.peer, a.secure, a.certificate = claim.Peer, claim.Secure, claim.Certificate
	if !a.tcp && !head.WantsUpgrade() {
		return nil // it is one of many requests
	}
	a.node.Received(true)
	if a.ticket, err = a.front.options.Gate.EnterPeer(a.peer.Addr(), a.front.http.makeRoom); err != nil {
		return admission.Unavailable(time.Second)
	}
	return nil
}

// Moving returns the answer to a request that nothing serves here. If another node has
// forwarded it, that node knows an instance which this node may not have learned of yet,
// so the client is told to try again.
func Moving(forwarded bool, ref *admission.Refusal) *admission.Refusal {
	if forwarded && ref.Status == http.StatusNotFound {
		return admission.Unavailable(time.Second)
	}
	return ref
}

// impersonate makes a forwarded request look as it did on the node that forwarded it.
func (c *httpConn) impersonate(r *http.Request) {
	c.node.Received(false)
	r.Header.Del(forward.Field)
	r.RemoteAddr, r.TLS = "@", nil // as of a Unix socket
	if c.claim.Peer.IsValid() {
		r.RemoteAddr = c.claim.Peer.String()
	}
	if c.claim.Secure {
		r.TLS = new(tls.ConnectionState)
	}
}
