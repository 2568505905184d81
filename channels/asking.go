package channels

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// asking is a handshake whose Connect runs on a goroutine, because it may block, and the context that it is given.
type asking struct {
	lateTimeout
	front *front
	conn  *netloop.Conn
	ws    *websocketConn
	hello *hello
	// The answer, of the goroutine until it is posted.
	agreement agreement
	refusal   *admission.Refusal
}

// ask runs Connect on a goroutine. What comes meanwhile waits in f.buf.
func (f *front) ask(c *netloop.Conn, w *websocketConn, h *hello, rest []byte) {
	f.asking = true
	f.buf = append([]byte(nil), rest...)
	a := &asking{front: f, conn: c, ws: w, hello: h}
	a.deadline = time.Now().Add(f.endpoint.limits.HandshakeTimeout)
	w.socket.endpoint.spawn(a)
}

// do is for the goroutine.
func (a *asking) do(*item) {
	defer a.end()
	a.refusal = admission.Crashed // unless Connect returns
	defer a.conn.Loop().Post((*asked)(a))
	m := a.ws.socket.mount
	a.agreement, a.refusal = m.endpoint.admit(a, m, &a.hello.head, &a.ws.socket, &a.hello.request)
	if m.options.ReuseRequest {
		a.hello.release()
	}
	a.hello = nil
}

// asked is the task that brings the answer.
type asked asking

// Run is for the loop.
func (t *asked) Run() {
	if t.conn.IsOpen() {
		t.front.asking = false
		t.conn.ResumeRead()
		t.front.finish(t.conn, t.ws, t.agreement, t.refusal, t.front.buf)
	}
}
