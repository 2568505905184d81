package front

import (
	"errors"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// errForwardedTwice is why a forwarded request is not forwarded again.
var errForwardedTwice = errors.New("channels: another node has forwarded a request that this node does not serve")

// forward has another node serve a client; request begins with the head of its
// handshake.
func (a *arrival) forward(c *netloop.Conn, to *forward.Elsewhere, head *websocket.Request, request []byte) {
	a.splice(c, to, head, to.First(request, a.claim()))
}

func (a *arrival) claim() forward.Claim {
	return forward.Claim{Peer: a.peer, Secure: a.secure, Certificate: a.certificate}
}

// splice connects a client with the node that serves it, which is sent first. What the
// client sends before that node is connected waits in a.buf.
func (a *arrival) splice(c *netloop.Conn, to *forward.Elsewhere, head *websocket.Request, first []byte) {
	defer releaseHead(head, true)
	o := &a.front.options
	if a.node != nil {
		o.Log.Debug("forwarded connection refused").Err(errForwardedTwice).Str("path", head.Path).Write()
		a.refuse(c, admission.Unavailable(time.Second))
		return
	}
	ref := o.Gate.Busy(time.Now(), admission.Caller{Delay: c.Loop().Delay(), Query: head.RawQuery})
	if ref == nil {
		client := o.Gate.Client(a.peer, head.Header["X-Forwarded-For"])
		var err error
		if a.ticket, err = o.Gate.EnterClient(a.ticket, client.Addr()); err != nil {
			ref = admission.Unavailable(time.Second)
		}
	}
	if ref == nil {
		ref = a.front.splices.begin(a, c, to, first)
	}
	if ref != nil {
		a.refuse(c, ref)
		return
	}
	a.buf = nil
	a.wait(c)
}

// Forward has another node serve a request that net/http has read. The connection of
// a handshake leaves net/http.
func (f *Front) Forward(w http.ResponseWriter, r *http.Request, to *forward.Elsewhere) {
	if Forwarded(r) {
		f.options.Log.Debug("forwarded request refused").Err(errForwardedTwice).Str("path", r.URL.Path).Write()
		admission.Unavailable(time.Second).Write(w)
		return
	}
	if head, err := websocket.FromHTTP(r); err == nil && head.WantsUpgrade() {
		f.forwardHandshake(w, r)
		return
	}
	failed := func(err error) {
		f.options.Log.Warn("request not forwarded").Err(err).Str("node", to.Name()).Write()
		admission.Unavailable(time.Second).Write(w)
	}
	if r.Method == http.MethodGet {
		f.RelayPoll(w, r, to, failed)
		return
	}
	to.Relay(w, r, ClaimOf(r), failed)
}

// RelayPoll has another node answer a poll. If that node cannot be asked, failed
// answers.
func (f *Front) RelayPoll(w http.ResponseWriter, r *http.Request, to *forward.Elsewhere, failed func(error)) {
	defer Exempt(r)()
	to.RelayPoll(w, r, ClaimOf(r), failed)
}

// ClaimOf returns what this node tells another one about the connection of a request.
func ClaimOf(r *http.Request) forward.Claim {
	return forward.Claim{Peer: Peer(r), Secure: r.TLS != nil, Certificate: CertificateOf(r)}
}

// forwardHandshake moves the connection of a handshake from net/http to a loop, where
// it arrives a second time.
func (f *Front) forwardHandshake(w http.ResponseWriter, r *http.Request) {
	nc, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.options.Log.Error("a socket needs a connection that can be hijacked: HTTP/1.1 without a wrapper that hides it").Err(err).Write()
		(&admission.Refusal{Status: http.StatusNotImplemented}).Write(w)
		return
	}
	nc.SetDeadline(time.Time{}) //nolint:errcheck // a broken connection shows on the loop
	again := forward.AppendHead(nil, r, r.Header)
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // they are in memory
	again = append(again, early...)
	a := &arrival{front: f, peer: Peer(r), counted: true}
	if own, ok := nc.(*httpConn); ok {
		a.ticket = own.ticket
		var more []byte
		nc, more = own.release()
		again = append(again, more...)
	}
	if err := f.options.Loops.Adopt(nc, again, a); err != nil {
		f.options.Log.Debug("connection lost in its handshake").Err(err).Write()
		a.ticket.Leave()
	}
}
