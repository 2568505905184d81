package front

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// httpConn is what net/http reads and writes in place of a connection. It reads
// each head whole and parses it by the rules of websocket.Request before net/http
// gets it, and follows each body to its end, so that net/http cannot read anything
// in another way.
//
// It also keeps the time. A client has Options.HandshakeTimeout to send a head.
// While it sends a body or reads an answer, it may pause for as long, and has a
// second more in all for each 8 KiB (see allowance). A handler's own time does not
// count, so answers may stream. The deadlines that a handler sets with
// http.ResponseController replace these for its request.
type httpConn struct {
	*countedConn
	front *Front
	tls   *tls.ConnectionState
	node  *forward.Node // another node sends the requests; nil: a client

	// Owned by the goroutine of net/http that reads. There is one at a time, and
	// changed is called before another begins.
	part  part
	buf   []byte // what was read, from the current head on
	given int    // how many bytes of buf net/http has
	head  int    // the size of the head in buf, in partMessage
	began time.Time
	body  websocket.Body
	reads allowance     // for the body
	err   error         // what is wrong with the body
	claim forward.Claim // whose request the last head began, if node is set

	// Owned by the goroutine of net/http that writes.
	writes allowance // for the answer

	lostAnswer lostAnswer

	handling              atomic.Bool // a handler runs
	readAsked, writeAsked atomic.Bool // the handler has set a deadline
	hijacked, hurried     atomic.Bool
	readBase              atomic.Int64 // base of the allowance for a body, a time.Duration

	// Guarded by bodyWait, together with the read deadline that belongs to it.
	bodyWait sync.Mutex
	awaiting bool // a read of the body waits
}

// part is what an httpConn gives to net/http next.
type part uint8

const (
	// partHead: the next head, when it is there and checked.
	partHead part = iota
	// partMessage: the rest of that head, and the body.
	partMessage
	// partNone: nothing, because the request is read. net/http tries to read a byte
	// all the same, to notice a client that goes away. A byte that comes belongs to
	// the next head.
	partNone
	// partEnd: the end. The connection was refused, or hijacked by Front.Upgrade.
	partEnd
	// partRaw: everything as it comes. A handler has hijacked the connection.
	partRaw
)

// Read returns what was checked.
func (c *httpConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch c.part {
		case partHead:
			if err := c.readHead(); err != nil {
				return 0, err
			}
		case partMessage:
			return c.readMessage(p)
		case partNone:
			return c.readAhead(p)
		case partRaw:
			if c.given == len(c.buf) {
				return c.countedConn.Read(p)
			}
			n := copy(p, c.buf[c.given:])
			c.given += n
			return n, nil
		default:
			return 0, io.EOF
		}
	}
}

// readHead collects and checks a head, and answers one that is refused. While
// net/http waits for a head, it writes nothing itself.
func (c *httpConn) readHead() error {
	most := c.front.options.HeaderBytes
	for seen := 0; ; {
		end := websocket.HeadEnd(c.buf, seen)
		if end > most || end < 0 && len(c.buf) > most {
			return c.refuse(headTooLarge)
		}
		if end > 0 {
			return c.checkHead(end)
		}
		if seen = len(c.buf); seen > 0 { // until then, net/http has a deadline for idle connections
			if c.began.IsZero() {
				c.began = time.Now()
			}
			c.Conn.SetReadDeadline(c.began.Add(c.front.options.HandshakeTimeout)) //nolint:errcheck // the read fails then
		}
		if err := c.more(); err != nil {
			return err
		}
	}
}

// more reads at least a byte into buf.
func (c *httpConn) more() error {
	const piece = 2048
	if cap(c.buf)-len(c.buf) < piece/2 {
		c.buf = append(make([]byte, 0, max(piece, 2*cap(c.buf))), c.buf...)
	}
	n, err := c.countedConn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	c.readFailed(err)
	return err
}

func (c *httpConn) checkHead(end int) error {
	var r websocket.Request
	if err := r.Parse(c.buf[:end]); err != nil {
		return c.refuse(admission.Malformed(err))
	}
	if c.node != nil {
		var err error
		if c.claim, err = c.node.TakeClaim(r.Header); err != nil {
			return c.refuse(admission.Forbidden)
		}
	}
	c.lostAnswer.nextRequest()
	c.part, c.head, c.began = partMessage, end, time.Time{}
	c.body, c.reads, c.err = websocket.NewBody(r.ContentLength), allowance{}, nil
	c.readBase.Store(int64(c.front.options.HandshakeTimeout))
	return nil
}

// refuse answers a head that net/http does not see, and ends the connection. It
// reads a little of what the client still sends, because a reset would destroy the
// answer.
func (c *httpConn) refuse(r *admission.Refusal) error {
	c.part = partEnd
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String()) // a Unix socket has none
	c.front.malformed(r, peer)
	c.SetDeadline(time.Now().Add(RefusalGrace)) //nolint:errcheck // what follows fails then
	if _, err := c.Conn.Write(r.Bytes()); err != nil {
		return io.EOF
	}
	c.CloseWrite()
	io.CopyN(io.Discard, c.Conn, lingerBytes) //nolint:errcheck // net/http closes it next
	return io.EOF
}

// lingerBytes is how much of a refused connection is read and discarded.
const lingerBytes = 256 << 10

// readMessage returns the rest of the head and then the body.
func (c *httpConn) readMessage(p []byte) (n int, err error) {
	if c.given < c.head {
		n = copy(p, c.buf[c.given:c.head])
		if c.given += n; c.given == c.head && c.body.Ended() {
			c.messageRead()
		}
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.given < len(c.buf) {
		n = copy(p, c.buf[c.given:])
		n, c.err = c.body.Feed(p[:n])
		c.given += n
	} else {
		got, err := c.readBody(p)
		if got == 0 {
			return 0, err
		}
		if n, c.err = c.body.Feed(p[:got]); n < got {
			c.buf, c.given = append(c.buf, p[n:got]...), len(c.buf)
		}
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.body.Ended():
		c.messageRead()
	}
	return n, nil
}

// readBody reads from the connection, with a deadline from its allowance.
func (c *httpConn) readBody(p []byte) (n int, err error) {
	start := time.Now()
	c.bodyWait.Lock()
	c.awaiting = true
	if !c.readAsked.Load() {
		c.Conn.SetReadDeadline(start.Add(c.reads.left(time.Duration(c.readBase.Load())))) //nolint:errcheck // the read fails then
	}
	c.bodyWait.Unlock()
	n, err = c.countedConn.Read(p)
	c.bodyWait.Lock()
	c.awaiting = false
	c.bodyWait.Unlock()
	c.reads.spend(start, n)
	return n, err
}

// messageRead ends the reading of a request. What is in buf behind it begins the
// next head.
func (c *httpConn) messageRead() {
	c.part = partNone
	c.buf, c.given, c.head = append(c.buf[:0], c.buf[c.given:]...), 0, 0
	if cap(c.buf) > 4*keptHead && len(c.buf) < keptHead {
		c.buf = append([]byte(nil), c.buf...)
	}
	if !c.readAsked.Load() {
		c.Conn.SetReadDeadline(time.Time{}) //nolint:errcheck // a broken connection is noticed in any case
	}
}

// keptHead is the size that a buffer may keep with little in it, in bytes.
const keptHead = 2048

// readAhead returns one byte of what follows the request, unchecked. The head that
// it begins is checked before a second byte is returned.
func (c *httpConn) readAhead(p []byte) (int, error) {
	if c.given == len(c.buf) {
		n, err := c.countedConn.Read(p[:1])
		if n == 0 {
			c.readFailed(err)
			return 0, err
		}
		c.buf = append(c.buf, p[0])
	}
	p[0] = c.buf[c.given]
	c.given++
	return 1, nil
}

// changed is called with each new state, before net/http acts on it.
func (c *httpConn) changed(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.writes = allowance{}
	case http.StateIdle:
		c.readAsked.Store(false)
		c.writeAsked.Store(false)
		switch c.part {
		case partNone:
			c.part = partHead
		case partMessage: // nobody has read the body: net/http closes the connection
			c.part = partEnd
		}
	case http.StateHijacked:
		c.part = partRaw
		c.hijacked.Store(true)
	}
}

// handled is called when a handler returns. net/http reads the rest of the body
// before it answers, but the client gets little time for it.
func (c *httpConn) handled() {
	c.handling.Store(false)
	if c.hijacked.Load() {
		return
	}
	c.readAsked.Store(false)
	c.writeAsked.Store(false)
	c.readBase.Store(int64(hurriedAllowance))
}

// release lets go of the connection for a loop, and returns it with what was read
// and not used. From then on the caller has its ticket.
func (c *httpConn) release() (_ net.Conn, unread []byte) {
	unread = slices.Concat(c.buf[c.given:], c.unread)
	c.part, c.buf, c.given, c.unread, c.ticket = partEnd, nil, 0, nil, nil
	c.leaveHTTP()
	return c.Conn, unread
}

// Write writes with a deadline from the answer's allowance.
func (c *httpConn) Write(p []byte) (int, error) {
	if c.hijacked.Load() || c.writeAsked.Load() {
		return c.Conn.Write(p)
	}
	start, base := time.Now(), c.front.options.HandshakeTimeout
	if c.hurried.Load() {
		base = hurriedAllowance
	}
	c.Conn.SetWriteDeadline(start.Add(c.writes.left(base))) //nolint:errcheck // the write fails then
	n, err := c.Conn.Write(p)
	c.writes.spend(start, n)
	return n, err
}

// SetReadDeadline is called by net/http and, while a handler runs, by the handler.
func (c *httpConn) SetReadDeadline(t time.Time) error {
	if c.handling.Load() {
		c.readAsked.Store(true)
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is called by handlers: net/http has no write deadline here.
func (c *httpConn) SetWriteDeadline(t time.Time) error {
	if c.handling.Load() {
		c.writeAsked.Store(true)
	}
	return c.Conn.SetWriteDeadline(t)
}

// hurry leaves a client a second to go on sending its request or reading its
// answer, because the endpoint shuts down.
func (c *httpConn) hurry() {
	c.hurried.Store(true)
	soon := time.Now().Add(hurriedAllowance)
	if !c.writeAsked.Load() && !c.hijacked.Load() {
		c.Conn.SetWriteDeadline(soon) //nolint:errcheck // a broken connection ends by itself
	}
	c.bodyWait.Lock()
	defer c.bodyWait.Unlock()
	c.readBase.Store(int64(hurriedAllowance))
	if c.awaiting {
		c.Conn.SetReadDeadline(soon) //nolint:errcheck // as above
	}
}

// abort closes the connection without TLS's close_notify, which might wait. Any
// goroutine.
func (c *httpConn) abort() {
	c.leave()
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.Conn.Close()
}
