package netloop

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// stream carries a connection over a net.Conn. A reading goroutine passes its buffer to the loop and waits until the
// loop has handled it before it reads again, so the loop can take the net.Conn away in between. A writing goroutine
// exists only during a write; frames queued meanwhile leave in the next write.
type stream struct {
	// Static after construction.
	nc   net.Conn
	conn *Conn
	loop *Loop
	self carrier // s: see Conn.via

	// lane is where the goroutines post their tasks.
	lane atomic.Pointer[Lane]

	// next tells the waiting reader whether to read again. It has room for one, so the loop never waits.
	next chan bool

	// Owned by the reader while it reads, by the loop while the reader waits.
	buf     []byte
	got     int
	readErr error

	// Owned by the writer while conn.flags has flagBlocked, else by the loop.
	frame    *Frame  // the frame being written, or
	joined   *[]byte // several, copied into one buffer
	wrote    int
	cost     int // what the write counts in conn.out.size
	writeErr error

	// Owned by the loop.
	waiting  bool // the reader waits for next
	handling bool // HandleData runs, on the reader's buffer
	held     bool // what the reader got has not been handled, because reading was paused
}

// joinBuffers hold frames that leave in one write, only while a goroutine writes.
var joinBuffers = sync.Pool{New: func() any { b := make([]byte, 0, scratchSize); return &b }}

// readDone and writeDone are the tasks by which a stream's goroutines pass control to the loop.
type (
	readDone  stream
	writeDone stream
)

// startStream makes c a connection of l, after a TLS handshake if it needs one. o lacks only the connection and its peer.
func (g *Group) startStream(l *Loop, c net.Conn, o *opening) error {
	s := &stream{nc: c, loop: l, next: make(chan bool, 1), buf: make([]byte, streamBuffer), waiting: true}
	s.self = s
	s.conn = &Conn{lane: l.lobby, via: &s.self, fd: -1}
	s.lane.Store(l.lobby)
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.pending[s] = struct{}{}
		g.routines.Add(1)
	}
	g.mu.Unlock()
	if closed {
		abort(c)
		return ErrClosed
	}
	setKeepAlive(c, g.options.PeerTimeout)
	setUserTimeout(c, g.options.PeerTimeout)
	setSendBuffer(c, g.options.SendBuffer)
	o.conn, o.peer = s.conn, addrPort(c.RemoteAddr())
	go s.run(o)
	return nil
}

// run is the reading goroutine.
func (s *stream) run(o *opening) {
	defer s.loop.group.routines.Done()
	if !s.open(o) {
		return
	}
	for <-s.next {
		s.read()
		if !s.lane.Load().Post((*readDone)(s)) {
			return
		}
	}
}

// open completes the TLS handshake and gives the connection to its loop. It reports whether s goes on to carry it. If
// that fails, or a function of the TLS configuration ends the goroutine, the connection is closed.
func (s *stream) open(o *opening) (carries bool) {
	l := s.loop
	g := l.group
	lost := ErrHandlerFailed // why it is closed; nil once it belongs to the loop
	defer func() {
		g.forgetPending(s)
		if lost != nil {
			l.stats.refused.Add(1)
			abort(s.nc)
			o.lose(lost)
		}
	}()
	if err := s.handshake(); err != nil {
		s.reportHandshake(err)
		lost = err
		return false
	}
	g.forgetPending(s) // from now on Close must not touch s.nc, which may become a descriptor
	raw, leftover, err := s.toDescriptor()
	if lost = err; err != nil {
		return false
	}
	if raw != nil {
		o.conn, o.leftover = raw, append(o.leftover, leftover...)
	}
	if !l.Post(o) {
		lost = ErrClosed
		if raw != nil {
			raw.carrier().close(raw)
		}
	}
	return lost == nil && raw == nil
}

// reportHandshake reports why the handshake has failed, here and, so that the alert arrives, to the peer: a reset would
// overtake it if the peer has sent more.
func (s *stream) reportHandshake(err error) {
	o := &s.loop.group.options
	var failed *callback.PanicError
	if errors.As(err, &failed) {
		o.OnError(err)
		return
	}
	if o.OnHandshake != nil {
		o.OnHandshake(addrPort(s.nc.RemoteAddr()), err)
	}
	tcp := tcpOf(s.nc)
	var network net.Error
	if tcp == nil || errors.As(err, &network) || errors.Is(err, io.EOF) {
		return // there is no alert
	}
	tcp.CloseWrite()                                // Close follows
	tcp.SetReadDeadline(time.Now().Add(alertGrace)) //nolint:errcheck // a read reports it
	io.CopyN(io.Discard, tcp, alertBytes)           //nolint:errcheck // whatever it sends
}

func (g *Group) forgetPending(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, s)
}

// toDescriptor makes a TLS connection one whose bytes the loop moves, if it can.
func (s *stream) toDescriptor() (*Conn, []byte, error) {
	t, ok := s.nc.(*tls.Conn)
	if !ok {
		return nil, nil, nil
	}
	wire, ok := t.NetConn().(*Wire)
	if !ok {
		return nil, nil, nil
	}
	return s.loop.takeSecured(t, wire)
}

// read reads once. The net.Conn may belong to an application.
func (s *stream) read() {
	s.got = 0
	defer callback.Recover("net.Conn.Read", &s.readErr)
	s.got, s.readErr = s.nc.Read(s.buf)
}

// handshake runs the functions of the TLS configuration, GetCertificate and others.
func (s *stream) handshake() (err error) {
	t, ok := s.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	defer s.loop.group.handshakes.begin(t)()
	defer callback.Recover("a function of tls.Config", &err)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	return t.HandshakeContext(ctx)
}

// Run handles what was read.
func (r *readDone) Run() {
	s := (*stream)(r)
	s.waiting = true
	s.deliver()
}

// deliver passes on what was read, unless reading is paused, and lets the reader continue.
func (s *stream) deliver() {
	c := s.conn
	if c.state >= stateClosed {
		s.let(false)
		return
	}
	if !c.reads() {
		s.held = true
		return
	}
	s.held = false
	if s.got > 0 {
		s.handling = true
		c.received(s.buf[:s.got])
		s.handling = false
	}
	if s.readErr == nil || c.state >= stateClosed {
		s.interest(c)
		return
	}
	if reason := closeReason(s.readErr); reason == ErrPeerClosed {
		c.ended()
	} else {
		c.Close(reason)
	}
	s.let(false)
}

// let ends the reader's wait.
func (s *stream) let(read bool) {
	if s.waiting {
		s.waiting = false
		s.next <- read
	}
}

// interest lets the reader continue if it may. Bytes that were read while reading was paused are handled first, by a
// task, because ResumeRead must not call the handler.
func (s *stream) interest(c *Conn) {
	switch {
	case !s.waiting || s.handling || !c.reads():
	case s.held:
		s.held = false
		s.waiting = false // until the task runs; no other task hands over meanwhile
		if !s.lane.Load().Post((*readDone)(s)) {
			s.waiting = true
			s.let(false)
		}
	case c.lane.tenant.Overloaded():
		c.lane.park(c)
	default:
		s.let(true)
	}
}

func (s *stream) flush(c *Conn) {
	if c.flags&flagBlocked != 0 {
		return
	}
	l := c.Loop()
	if c.out.first == nil && (c.state != stateClosing || c.flags&flagFinSent != 0) {
		return
	}
	c.flags |= flagBlocked
	l.group.routines.Add(1)
	if c.out.first == nil {
		go s.finishStream()
		return
	}
	s.takeFrames(c)
	go s.write()
}

// takeFrames moves frames from the queue to the writer. Their bytes count as waiting until they are written. At most
// half of the limit is joined, so that DropOldest has something left to drop.
func (s *stream) takeFrames(c *Conn) {
	o := &c.out
	most := min(scratchSize, c.Loop().group.options.OutboundLimit/2)
	if o.rest == nil || o.first.rest != nil || o.first.Size()+o.rest.at(0).Size() > most {
		s.cost = o.first.Cost(c.Loop().group.options.OutboundLimit)
		s.frame = o.pop(c.Loop())
		return
	}
	joined := joinBuffers.Get().(*[]byte)
	buf := (*joined)[:0]
	s.cost = 0
	for o.first != nil && o.first.rest == nil && len(buf)+len(o.first.data) <= most {
		s.cost += o.first.Cost(c.Loop().group.options.OutboundLimit)
		f := o.pop(c.Loop())
		buf = append(buf, f.data...)
		f.Release()
	}
	*joined = buf
	s.joined = joined
}

// write is the writing goroutine.
func (s *stream) write() {
	l := s.loop
	defer l.group.routines.Done()
	s.writeOut()
	if s.frame != nil {
		s.frame.Release()
		s.frame = nil
	} else {
		joinBuffers.Put(s.joined)
		s.joined = nil
	}
	if s.writeErr == nil {
		l.stats.writes.Add(1)
		l.stats.bytesOut.Add(int64(s.wrote))
	}
	s.lane.Load().Post((*writeDone)(s))
}

// writeOut writes the frames that were taken.
func (s *stream) writeOut() {
	defer callback.Recover("net.Conn.Write", &s.writeErr)
	if s.frame != nil {
		s.wrote, s.writeErr = s.frame.Size(), s.frame.writeTo(s.nc)
	} else {
		s.wrote = len(*s.joined)
		_, s.writeErr = s.nc.Write(*s.joined)
	}
}

// finishStream is a writing goroutine that ends our side of the stream.
func (s *stream) finishStream() {
	defer s.loop.group.routines.Done()
	s.wrote, s.writeErr = 0, s.closeWrite()
	s.lane.Load().Post(TaskFunc(func() { s.finished() }))
}

// closeWrite calls endStream, which may panic in an application's net.Conn.
func (s *stream) closeWrite() (err error) {
	defer callback.Recover("net.Conn.CloseWrite", &err)
	return endStream(s.nc)
}

func (s *stream) finished() {
	c := s.conn
	c.flags = c.flags&^flagBlocked | flagFinSent
	if s.writeErr != nil || c.flags&flagEnded != 0 {
		c.Close(c.reason)
	}
}

// Run accounts for what was written and continues with what waits.
func (w *writeDone) Run() {
	s := (*stream)(w)
	c := s.conn
	if c.state >= stateClosed {
		return
	}
	c.flags &^= flagBlocked
	c.out.size -= int32(s.cost)
	c.noteDrained()
	if s.writeErr != nil {
		c.Close(closeReason(s.writeErr))
		return
	}
	if c.out.first != nil || c.state == stateClosing {
		c.Loop().markDirty(c)
	}
}

func (s *stream) close(*Conn) {
	abort(s.nc)
	s.let(false)
}

func (s *stream) detach(c *Conn) (net.Conn, error) {
	if !s.waiting || s.held {
		return nil, ErrReading
	}
	s.let(false)
	return s.nc, nil
}

func (s *stream) tlsState() *tls.ConnectionState {
	t, ok := s.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// underlying returns what a TLS connection runs over, and c itself for others.
func underlying(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// tcpOf returns the TCP connection that c is or runs over, nil if there is none.
func tcpOf(c net.Conn) *net.TCPConn {
	c = underlying(c)
	if w, ok := c.(*Wire); ok {
		c = w.Conn
	}
	t, _ := c.(*net.TCPConn)
	return t
}

// abort closes c without writing: tls.Conn.Close would wait up to 5 s for a peer that does not take the alert.
func abort(c net.Conn) { underlying(c).Close() }

// endStream ends our side of c, or all of c if that is not possible. It may block.
func endStream(c net.Conn) error {
	type halfCloser interface{ CloseWrite() error }
	if t, ok := c.(*tls.Conn); ok {
		t.CloseWrite()
	}
	if h, ok := underlying(c).(halfCloser); ok {
		return h.CloseWrite()
	}
	return net.ErrClosed
}

// setSendBuffer bounds what the system keeps for a peer that does not read; 0 leaves it to the system.
func setSendBuffer(c net.Conn, size int) {
	if t := tcpOf(c); t != nil && size > 0 {
		_ = t.SetWriteBuffer(size) // a lost connection is noticed soon enough
	}
}

// setKeepAlive makes the system detect a vanished peer within timeout.
func setKeepAlive(c net.Conn, timeout time.Duration) {
	if t := tcpOf(c); t != nil {
		idle, interval, count := keepAlive(timeout)
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: count})
	}
}

// keepAlive divides the time in which a vanished peer must be detected: half of it idle, then three probes. It returns
// whole seconds, as the system counts.
func keepAlive(timeout time.Duration) (idle, interval time.Duration, count int) {
	count = 3
	idle = max((timeout / 2).Truncate(time.Second), time.Second)
	interval = max(((timeout - idle) / time.Duration(count)).Truncate(time.Second), time.Second)
	return idle, interval, count
}
