package front

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Attempt is a handshake whose Connect runs on a goroutine, because it may block.
// It is the context that Connect is given, too.
type Attempt struct {
	lateDeadline
	arrival *arrival
	conn    *netloop.Conn
	request request

	// The outcome. The goroutine's until it is posted.
	accept  websocket.Accept
	refusal *admission.Refusal
}

// attempt has r admitted on a goroutine. What comes meanwhile waits in a.buf.
func (a *arrival) attempt(c *netloop.Conn, m Mount, r request, early []byte) {
	a.buf = append([]byte(nil), early...)
	a.wait(c)
	t := &Attempt{arrival: a, conn: c, request: r}
	t.deadline = time.Now().Add(a.front.options.HandshakeTimeout)
	m.Spawn(t)
}

// wait has the client wait for as long as Options.HandshakeTimeout, however long it took to send its request.
func (a *arrival) wait(c *netloop.Conn) {
	a.waiting = true
	c.SetDeadline(a.front.options.HandshakeTimeout)
}

// Run makes the checks and takes the outcome to the loop. It is for the goroutine.
func (t *Attempt) Run() {
	defer t.end()
	t.refusal = admission.Crashed // unless Connect returns
	defer t.conn.Loop().Post((*attempted)(t))
	t.accept, t.refusal = t.request.admit(t)
}

// attempted is the task that brings the outcome to the loop.
type attempted Attempt

// Run answers the handshake, unless its client has gone.
func (t *attempted) Run() {
	if !t.conn.IsOpen() {
		t.request.release()
		return
	}
	t.arrival.waiting = false
	t.conn.ResumeRead()
	t.arrival.finish(t.conn, t.request, t.accept, t.refusal, t.arrival.buf)
}
