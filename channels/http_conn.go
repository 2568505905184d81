package channels

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
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// httpConn is what net/http reads and writes in place of a connection. Each head
// that net/http reads, the first of the connection and later ones, has been
// read whole and parsed here before by the rules of websocket.Request, and each
// body is followed to its end, so that nothing reaches net/http that it could
// read in another way.
//
// It also keeps the time. A client may keep us waiting for a head as long as
// Limits.HandshakeTimeout, for a body and in taking an answer as long as that at
// a time, and in all a second more for each 8 KiB (patience). The time that a
// handler takes does not count, so answers may stream for as long as they like.
// A handler replaces these deadlines, for its request, by those that it sets
// with http.ResponseController.
type httpConn struct {
	*countedConn
	endpoint *Endpoint
	tls      *tls.ConnectionState

	// Owned by the goroutine of net/http that reads. Only one does at a time, and
	// it tells changed before another begins.
	part  part
	buf   []byte // what was read of the connection from the current head on
	given int    // bytes of buf that net/http has
	head  int    // the size of the head in buf, in partMessage
	began time.Time
	body  websocket.Body
	reads patience // of the body
	err   error    // what is wrong with the body

	// Owned by the goroutine of net/http that writes.
	writes patience // of the answer

	handling              atomic.Bool // a handler runs
	readAsked, writeAsked atomic.Bool // it has set a deadline
	hijacked, hurried     atomic.Bool
	waits                 sync.Mutex // guards awaiting, and the read deadline that goes with it
	awaiting              bool       // for bytes of a body
	readBase              atomic.Int64
}

// part says what an httpConn gives to net/http next.
type part uint8

const (
	// partHead: the next request's head, once it is there and was checked.
	partHead part = iota
	// partMessage: the rest of that head, and the body.
	partMessage
	// partNone: the request is read. net/http reads a byte all the same, to
	// notice a client that goes away. A byte that comes belongs to the next head.
	partNone
	// partEnd: nothing. The connection is refused or was hijacked by its endpoint.
	partEnd
	// partRaw: whatever comes. A handler has hijacked the connection.
	partRaw
)

// Read gives net/http what has passed.
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

// readHead collects and checks a head. One that is refused is answered here:
// net/http has nothing to say on the connection when it asks for a head.
func (c *httpConn) readHead() error {
	most := c.endpoint.limits.HeaderBytes
	for seen := 0; ; {
		end := websocket.HeadEnd(c.buf, seen)
		if end > most || end < 0 && len(c.buf) > most {
			return c.refuse(headTooLarge)
		}
		if end > 0 {
			return c.checkHead(end)
		}
		if seen = len(c.buf); seen > 0 { // until then net/http's deadline for idle connections counts
			if c.began.IsZero() {
				c.began = time.Now()
			}
			c.Conn.SetReadDeadline(c.began.Add(c.endpoint.limits.HandshakeTimeout)) //nolint:errcheck // the read fails then
		}
		if err := c.more(); err != nil {
			return err
		}
	}
}

// more reads something into buf.
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
	return err
}

func (c *httpConn) checkHead(end int) error {
	var r websocket.Request
	if err := r.Parse(c.buf[:end]); err != nil {
		return c.refuse(admission.Malformed(err))
	}
	c.part, c.head, c.began = partMessage, end, time.Time{}
	c.body, c.reads, c.err = websocket.NewBody(r.ContentLength), patience{}, nil
	c.readBase.Store(int64(c.endpoint.limits.HandshakeTimeout))
	return nil
}

// refuse answers a head that net/http does not get to see, and ends the
// connection. Little of what the client still sends is read, so that the answer
// is not overtaken by a reset.
func (c *httpConn) refuse(r *admission.Refusal) error {
	c.part = partEnd
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String()) // a Unix socket has none
	c.endpoint.malformed(r, peer)
	c.SetDeadline(time.Now().Add(refusalGrace)) //nolint:errcheck // what follows fails then
	if _, err := c.Conn.Write(r.Bytes()); err != nil {
		return io.EOF
	}
	c.CloseWrite()
	io.CopyN(io.Discard, c.Conn, lingerBytes) //nolint:errcheck // net/http closes it next
	return io.EOF
}

// lingerBytes is how much of a refused connection is read and thrown away.
const lingerBytes = 256 << 10

// readMessage gives the rest of the head and then the body.
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

// readBody reads from the connection as long as its client has patience left.
func (c *httpConn) readBody(p []byte) (n int, err error) {
	start := time.Now()
	c.waits.Lock()
	c.awaiting = true
	if !c.readAsked.Load() {
		c.Conn.SetReadDeadline(start.Add(c.reads.left(time.Duration(c.readBase.Load())))) //nolint:errcheck // the read fails then
	}
	c.waits.Unlock()
	n, err = c.countedConn.Read(p)
	c.waits.Lock()
	c.awaiting = false
	c.waits.Unlock()
	c.reads.spend(start, n)
	return n, err
}

// messageRead begins to wait for the answer. What is in buf behind the message
// is the beginning of the next head.
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

// keptHead is how large a buffer may stay, in bytes, with little in it.
const keptHead = 2048

// readAhead returns one byte of what follows the request. That byte is not
// checked yet; the head that it begins is, before a second byte is returned.
func (c *httpConn) readAhead(p []byte) (int, error) {
	if c.given == len(c.buf) {
		n, err := c.countedConn.Read(p[:1])
		if n == 0 {
			return 0, err
		}
		c.buf = append(c.buf, p[0])
	}
	p[0] = c.buf[c.given]
	c.given++
	return 1, nil
}

// changed is told what net/http begins to do, before it does it.
func (c *httpConn) changed(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.writes = patience{}
	case http.StateIdle:
		c.readAsked.Store(false)
		c.writeAsked.Store(false)
		switch c.part {
		case partNone:
			c.part = partHead
		case partMessage: // a body that nobody has read; net/http closes then
			c.part = partEnd
		}
	case http.StateHijacked:
		c.part = partRaw
		c.hijacked.Store(true)
	}
}

// handled is the end of a handler. A body that it has not read is read by
// net/http, which answers then, but not waited for.
func (c *httpConn) handled() {
	c.handling.Store(false)
	if c.hijacked.Load() {
		return
	}
	c.readAsked.Store(false)
	c.writeAsked.Store(false)
	c.readBase.Store(int64(hurriedPatience))
}

// release gives the connection, with what was read of it and not used, to the
// loops. Its place is the caller's to count from then on.
func (c *httpConn) release() (_ net.Conn, unread []byte) {
	unread = slices.Concat(c.buf[c.given:], c.unread)
	c.part, c.buf, c.given, c.unread, c.ticket = partEnd, nil, 0, nil, nil
	c.leaveHTTP()
	return c.Conn, unread
}

// Write gives the client its time to take it.
func (c *httpConn) Write(p []byte) (int, error) {
	if c.hijacked.Load() || c.writeAsked.Load() {
		return c.Conn.Write(p)
	}
	start, base := time.Now(), c.endpoint.limits.HandshakeTimeout
	if c.hurried.Load() {
		base = hurriedPatience
	}
	c.Conn.SetWriteDeadline(start.Add(c.writes.left(base))) //nolint:errcheck // the write fails then
	n, err := c.Conn.Write(p)
	c.writes.spend(start, n)
	return n, err
}

// SetReadDeadline is net/http's and, while a handler runs, the handler's.
func (c *httpConn) SetReadDeadline(t time.Time) error {
	if c.handling.Load() {
		c.readAsked.Store(true)
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is the handler's: net/http has no deadline of its own here.
func (c *httpConn) SetWriteDeadline(t time.Time) error {
	if c.handling.Load() {
		c.writeAsked.Store(true)
	}
	return c.Conn.SetWriteDeadline(t)
}

// hurry ends the waiting for a client that neither sends the rest of its
// request nor takes its answer, because the endpoint shuts down.
func (c *httpConn) hurry() {
	c.hurried.Store(true)
	soon := time.Now().Add(hurriedPatience)
	if !c.writeAsked.Load() && !c.hijacked.Load() {
		c.Conn.SetWriteDeadline(soon) //nolint:errcheck // a broken connection ends by itself
	}
	c.waits.Lock()
	defer c.waits.Unlock()
	c.readBase.Store(int64(hurriedPatience))
	if c.awaiting {
		c.Conn.SetReadDeadline(soon) //nolint:errcheck // as above
	}
}

// abort closes the connection without a word, which a TLS connection would wait
// to say. Any goroutine.
func (c *httpConn) abort() {
	c.leave()
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.Conn.Close()
}
