package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// secured carries a TLS connection whose bytes its loop moves. The tls.Conn reads what recv returned and writes what send
// will send, both in memory. It borrows its buffers from the loop, so an idle connection has none.
type secured struct {
	// Static after construction.
	self  carrier // s: see Conn.via
	epoll *epoll
	tls   *tls.Conn
	wire  *Wire

	// Owned by the loop.
	cost int32 // what the frames in wire.sealed contribute to Conn.out.size
}

// takeSecured makes t, whose handshake is over, a connection on a descriptor of our own, if the loop has epoll and wire is
// over TCP; otherwise it returns nil. leftover is the data that arrived with the handshake. The connection does not
// belong to the loop yet.
func (l *Loop) takeSecured(t *tls.Conn, wire *Wire) (c *Conn, leftover []byte, err error) {
	tcp := wire.Conn
	if c, err = l.takeDescriptor(tcp); c == nil {
		return nil, nil, err
	}
	s := &secured{epoll: l.poller.(*epoll), tls: t, wire: wire}
	s.self = s
	wire.Conn = nil
	c.via = &s.self
	c.flags |= flagSecured
	if leftover, err = s.drain(nil); err != nil {
		unix.Close(int(c.fd))
		return nil, nil, err
	}
	giveBack(t)
	return c, leftover, nil
}

// drain appends everything that can be decrypted to buf.
func (s *secured) drain(buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := s.tls.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == nil:
			s.wire.noteData()
		case errors.Is(err, errAgain{}):
			return buf, nil
		default:
			return buf, err
		}
	}
}

// receive decrypts what recv returned and passes it to the handler, all at once, because a handler that pauses reading
// must not be called again.
func (s *secured) receive(c *Conn, data []byte) {
	l := c.Loop()
	buffers := l.tlsBuffers()
	borrow(s.tls, buffers.records)
	s.wire.unread = data
	plain, err := s.drain(buffers.plain)
	giveBack(s.tls)
	if c.state == stateOpen {
		c.touched = l.tick // even if no record is complete
	}
	if len(s.wire.sealed) > 0 && c.flags&flagBlocked == 0 { // an alert, or the answer to a key update
		s.send(c)
	}
	if len(plain) > 0 {
		c.received(plain)
	}
	switch {
	case s.wire.full:
		c.Close(ErrSlowReceiver)
	case err == nil:
	case errors.Is(err, io.EOF): // the peer's close_notify
		c.ended()
	default:
		c.Close(closeReason(err))
	}
}

// begin implements opener.
func (s *secured) begin(c *Conn) error { return s.epoll.begin(c) }

// flush implements carrier.
func (s *secured) flush(c *Conn) {
	for s.send(c) && c.out.first != nil {
		if err := s.seal(c); err != nil {
			c.Close(err)
			return
		}
	}
	if c.state >= stateClosed || c.flags&flagBlocked != 0 {
		return
	}
	switch {
	case c.state == stateClosing && c.flags&flagEnded != 0:
		c.Close(c.reason)
		return
	case c.state == stateClosing && c.flags&flagFinSent == 0:
		s.finish(c)
	}
	s.interest(c)
}

// finish ends our side of the stream, with close_notify.
func (s *secured) finish(c *Conn) {
	c.flags |= flagFinSent
	s.wire.sealed = c.Loop().tlsBuffers().sealed
	s.tls.CloseWrite()
	if s.send(c) {
		unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

// seal encrypts the next frames, which still count as waiting until they are sent.
func (s *secured) seal(c *Conn) error {
	l := c.Loop()
	s.wire.sealed = l.tlsBuffers().sealed
	plain := c.out.gather(l.joined)
	plain = plain[:min(len(plain), sealChunk, max(1, l.group.options.OutboundLimit/2))]
	if _, err := s.tls.Write(plain); err != nil {
		return err
	}
	l.stats.bytesOut.Add(int64(len(plain)))
	before := c.out.size
	c.out.advance(l, len(plain))
	s.cost = before - c.out.size
	c.out.size = before
	return nil
}

// send sends what is encrypted, and reports whether the socket has taken all of it. Afterwards nothing refers to the
// loop's buffer.
func (s *secured) send(c *Conn) bool {
	l := c.Loop()
	for len(s.wire.sealed) > 0 {
		n, errno := send(int(c.fd), s.wire.sealed)
		switch errno {
		case 0:
			l.stats.writes.Add(1)
			s.wire.sealed = s.wire.sealed[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			s.wire.sealed = append([]byte(nil), s.wire.sealed...)
			c.flags |= flagBlocked
			s.interest(c)
			return false
		default:
			s.wire.sealed = nil
			c.Close(closeReason(errno))
			return false
		}
	}
	s.wire.sealed = nil
	c.flags &^= flagBlocked
	c.out.size -= s.cost
	s.cost = 0
	c.noteDrained()
	return true
}

func (s *secured) interest(c *Conn) { s.epoll.interest(c) }

func (s *secured) close(c *Conn) {
	s.epoll.close(c)
	s.wire.end()
}

// detach makes the tls.Conn an ordinary one again.
func (s *secured) detach(c *Conn) (net.Conn, error) {
	if len(s.wire.sealed) > 0 {
		return nil, ErrFramesWaiting
	}
	nc, err := s.epoll.detach(c)
	if err != nil {
		s.wire.end()
		return nil, err
	}
	s.wire.Conn = nc
	return s.tls, nil
}

func (s *secured) tlsState() *tls.ConnectionState {
	state := s.tls.ConnectionState()
	return &state
}
