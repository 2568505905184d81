package front

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/packet"
)

// tcpProtocol is the only protocol that a client over TLS may offer by ALPN, so that no
// web page can make a browser send HTTP to this port.
const tcpProtocol = "mycelium"

// websocketPath is what phoenix.js appends to the path of a socket. Clients over raw TCP
// may leave it out.
const websocketPath = "/websocket"

const (
	httpToTCPBody = "this port serves raw TCP; HTTP and WebSockets are served on another port\n"
	tcpToHTTPBody = "this port serves HTTP; raw TCP is served on another port"
	tlsToTCPBody  = "this port serves raw TCP without TLS: connect without, or configure TLS\n"
	noSocketHere  = "no socket or running instance is at this path"
)

// claimRoom is how much longer a connect may be that another node forwards, in bytes: its
// claim may hold the names of a certificate.
const claimRoom = 16 << 10

// handlePacket collects and handles the connect of a client over raw TCP.
func (a *arrival) handlePacket(c *netloop.Conn, data []byte) {
	o := &a.front.options
	switch {
	case a.tcp && isLetter(data[0]): // no allowed length begins with a letter
		sendRefusal(c, a.front.malformed(admission.TextRefusal(http.StatusBadRequest, httpToTCPBody), a.peer), false)
		return
	case !a.tcp && a.node == nil:
		a.tcp = true
		a.refuse(c, a.front.malformed(admission.TextRefusal(http.StatusBadRequest, tcpToHTTPBody), a.peer))
		return
	}
	a.tcp = true
	most := o.HeaderBytes
	if a.node != nil {
		most += claimRoom
	}
	end, err := packet.FirstEnd(data, most)
	switch {
	case err != nil:
		a.refuse(c, a.front.malformed(admission.Malformed(err), a.peer))
	case end == 0:
		a.collect(c, data)
	default:
		a.handleConnect(c, data[packet.HeaderSize:end], data[end:])
	}
}

// isLetter reports whether b may begin the method of a request.
func isLetter(b byte) bool { return b >= 'A' && b <= 'Z' }

// handleConnect decides what to do by the path in a connect, as handleHead does by the path
// of a request. early is what followed the connect.
func (a *arrival) handleConnect(c *netloop.Conn, body, early []byte) {
	connect, head := new(packet.Request), newHead()
	err := connect.Parse(body)
	if err == nil {
		err = connect.Head(head)
	}
	if err != nil {
		a.refuse(c, a.front.malformed(admission.Malformed(err), a.peer))
		return
	}
	delete(head.Header, "X-Forwarded-For") // no proxy wrote it
	if ref := a.identify(c, head); ref != nil {
		a.refuse(c, ref)
		return
	}
	place, ref := a.front.options.Find(head.Path)
	if place == (Place{}) && ref == nil {
		place, ref = a.front.options.Find(strings.TrimSuffix(head.Path, "/") + websocketPath)
	}
	switch {
	case ref != nil:
		a.refuse(c, Moving(a.node != nil, ref))
	case place.Elsewhere != nil:
		connect.SetHeader(forward.Field, place.Elsewhere.Sign(a.claim()))
		first, err := packet.AppendRequest(nil, connect)
		if err != nil { // it was made from JSON
			a.refuse(c, admission.Crashed)
			return
		}
		a.splice(c, place.Elsewhere, head, append(first, early...))
	case place.Mount == nil:
		a.refuse(c, a.front.malformed(admission.TextRefusal(http.StatusNotFound, noSocketHere), a.peer))
	default:
		a.handleHandshake(c, place.Mount, request{head: head, connect: connect}, early)
	}
}

// appendRefused appends a refusal as a packet.
func appendRefused(dst []byte, r *admission.Refusal) []byte {
	retryAfter, _ := strconv.Atoi(r.Header.Get("Retry-After")) // 0 without one
	return packet.AppendRefused(dst, r.Status, retryAfter, refusedReason(r))
}

// refusedReason returns why a client over raw TCP is refused. Over HTTP, refusals without a
// body are Phoenix's, whose clients show nobody a reason.
func refusedReason(r *admission.Refusal) string {
	if body := strings.TrimSpace(r.Body); body != "" {
		return body
	}
	switch r.Status {
	case http.StatusBadRequest:
		return "the params cannot be decoded"
	case http.StatusForbidden:
		return "the token, the params or the version of the protocol (the param vsn) were refused"
	case http.StatusNotFound:
		return noSocketHere
	case http.StatusServiceUnavailable:
		return "the server cannot take more clients at the moment"
	}
	return http.StatusText(r.Status)
}
