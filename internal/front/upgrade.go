package front

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Path returns the path of a request as an arrival reads it, so that a path is the
// same whoever has read it. It is empty for one that an arrival refuses.
func Path(r *http.Request) string {
	at, _ := websocket.DecodePath(r.URL.EscapedPath())
	return at
}

// Peer returns the peer of a request's connection, zero if it has no address.
func Peer(r *http.Request) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // a Unix socket's
		return netip.AddrPort{}
	}
	return peer
}

// Upgrade serves a handshake that net/http has read, of this server or of another
// one that an endpoint is mounted in. The connection leaves net/http for a loop.
func (f *Front) Upgrade(w http.ResponseWriter, r *http.Request, m Mount) {
	// A refused handshake ends its connection, as it does on arrival. net/http does
	// not wait for a body then; a handshake has none.
	w.Header().Set("Connection", "close")
	terms := m.Terms()
	if ref := terms.Gate.Busy(time.Now(), admission.Caller{Delay: f.options.Loops.Delay(), Query: r.URL.RawQuery}); ref != nil {
		ref.Write(w)
		return
	}
	head, err := websocket.FromHTTP(r)
	if err != nil {
		terms.Gate.Refusals.Malformed.Add(1)
		admission.Malformed(err).Write(w)
		return
	}
	client := terms.Gate.Client(Peer(r), r.Header["X-Forwarded-For"])
	ctx, cancel := context.WithTimeout(r.Context(), terms.HandshakeTimeout)
	defer cancel()
	q := request{terms: terms, head: head, client: client.Addr(), handshake: m.NewHandshake(head, Client{Addr: client, Secure: r.TLS != nil, Certificate: CertificateOf(r)})}
	u := &upgraded{request: q}
	var ref *admission.Refusal
	if u.accept, ref = q.admit(ctx); ref == nil {
		if u.ticket, err = terms.Gate.EnterGuest(nil, q.client); err != nil {
			ref = admission.Unavailable(time.Second)
		}
	}
	if ref != nil {
		u.drop()
		ref.Write(w)
		return
	}
	f.hijack(w, u)
}

// hijack takes a connection from net/http to a loop.
func (f *Front) hijack(w http.ResponseWriter, u *upgraded) {
	log := u.request.terms.Log
	nc, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		log.Error("a socket needs a connection that can be hijacked: HTTP/1.1 without a wrapper that hides it").Err(err).Write()
		u.drop()
		(&admission.Refusal{Status: http.StatusNotImplemented}).Write(w)
		return
	}
	nc.SetDeadline(time.Time{}) //nolint:errcheck // a broken connection shows on the loop
	early := make([]byte, buffered.Reader.Buffered())
	buffered.Read(early) //nolint:errcheck // they are in memory
	if own, ok := nc.(*httpConn); ok {
		counted, err := own.front.options.Gate.EnterClient(own.ticket, u.request.client)
		if err != nil {
			u.drop()
			refuseHijacked(own, admission.Unavailable(time.Second))
			return
		}
		var more []byte
		nc, more = own.release()
		early = append(early, more...)
		u.ticket = u.ticket.Within(counted)
	}
	if err := f.options.Loops.Adopt(nc, early, u); err != nil {
		log.Debug("connection lost in its handshake").Err(err).Write()
		u.drop()
	}
}

// answerTime is how long a client has to take an answer that net/http does not write.
const answerTime = 5 * time.Second

// refuseHijacked answers on a connection that net/http has let go of, and closes it.
func refuseHijacked(c net.Conn, r *admission.Refusal) {
	c.SetWriteDeadline(time.Now().Add(answerTime)) //nolint:errcheck // the write fails then
	c.Write(r.Bytes())                             //nolint:errcheck // the client may be gone
	c.Close()
}

// upgraded is the handler of a connection on its way from net/http to a loop.
type upgraded struct {
	request request
	accept  websocket.Accept
	ticket  *admission.Ticket
}

// drop ends a handshake that opens no socket.
func (u *upgraded) drop() {
	u.ticket.Leave()
	u.request.release()
}

// HandleLost implements netloop.Lost.
func (u *upgraded) HandleLost(reason error) {
	u.request.terms.Log.Debug("connection lost in its handshake").Err(reason).Write()
	u.drop()
}

// HandleOpen opens the socket, whose handler takes over.
func (u *upgraded) HandleOpen(c *netloop.Conn) {
	u.request.handshake.Open(c, u.accept, u.ticket)
	u.request.release()
}

// HandleData implements netloop.Handler. It is never called, as are those below.
func (u *upgraded) HandleData(*netloop.Conn, []byte) {}

// HandleTimeout implements netloop.Handler.
func (u *upgraded) HandleTimeout(*netloop.Conn) {}

// HandleClose implements netloop.Handler.
func (u *upgraded) HandleClose(*netloop.Conn, error) {}
