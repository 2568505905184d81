package netloop

import (
	"crypto/tls"
	"math"
	"net"
	"time"
)

// Handler handles the events of a connection, always on the connection's loop. Its methods must not block.
type Handler interface {
	// HandleOpen is called first and once.
	HandleOpen(c *Conn)
	// HandleData is given bytes as they arrive. data is valid during the call and may be modified.
	HandleData(c *Conn, data []byte)
	// HandleTimeout is called when no byte has arrived for the time given to SetDeadline. The deadline is then off
	// until the next SetDeadline.
	HandleTimeout(c *Conn)
	// HandleClose is called last and once, unless the connection was detached, and never from inside another callback
	// or a method of c. The only method that may be called afterwards is Send, which drops the frame.
	HandleClose(c *Conn, reason error)
}

// Lost is a [Handler] given to Adopt that is told if its connection is lost before HandleOpen, which Adopt cannot report:
// a TLS handshake fails, descriptors run out, or the group is closed.
type Lost interface {
	// HandleLost is called once, on any goroutine, in place of all callbacks of Handler.
	HandleLost(reason error)
}

// carrier moves a connection's bytes: the loop's epoll for descriptors, a stream for each net.Conn. All methods are
// called on the loop.
type carrier interface {
	// flush writes as much of c.out as the peer takes, and ends the stream if c is closing and nothing waits.
	flush(c *Conn)
	// interest applies c.flags: whether to read, and on epoll whether to wait for room to write.
	interest(c *Conn)
	// close frees the descriptor or the goroutines.
	close(c *Conn)
	// detach gives the connection away. If it fails, the connection is unchanged unless c.state says otherwise.
	detach(c *Conn) (net.Conn, error)
	// tlsState returns the state of a TLS connection and nil for others.
	tlsState() *tls.ConnectionState
}

type connState uint8

const (
	stateOpening connState = iota
	stateOpen
	stateClosing  // CloseAfterFlush: queued frames are written, input is discarded and soon no longer read
	stateClosed   // HandleClose is due or has run
	stateDetached // given away by Detach
)

type connFlags uint16

const (
	flagDirty    connFlags = 1 << iota // in one of its lane's rings of connections to write
	flagPrompt                         // in the ring for small tasks
	flagBlocked                        // the socket or the writing goroutine takes no more for now
	flagPaused                         // by PauseRead
	flagParked                         // by overload
	flagEnded                          // the peer's end of stream came while frames were still being written
	flagFinSent                        // our end of stream was sent
	flagUnread                         // in its lane's ring of connections to read
	flagAwaited                        // by NotifyDrained
	flagArmedIn                        // epoll waits for bytes and the end of the stream
	flagArmedOut                       // epoll waits for room to write
	flagSecured                        // its carrier is a *secured
	flagUntried                        // CloseAfterFlush was called, and nothing was written since
	flagNewcomer                       // by SetNewcomer
	flagOwed                           // counted in newcomers.owed
	flagHungUp                         // epoll has reported that the stream ends after the bytes that wait to be read
)

// Conn is a connection. It belongs to its loop. It is at most 112 bytes on Linux, because most connections of a server
// are idle.
type Conn struct {
	// Static after construction.
	via   *carrier // the loop's or stream's: a copy of the interface would be twice as large
	fd    int32    // -1 for a stream
	index int32    // in loop.conns

	// Owned by the loop.
	lane    *Lane // the lobby's, or its tenant's
	handler Handler
	reason  error // reason of the close that has begun
	out     outbox
	timer   timer
	touched uint32 // tick of the last byte, for timer
	flags   connFlags
	state   connState
	waste   uint8 // KiB read and discarded while closing; each read counts at least one
}

// Loop returns the loop that owns the connection. Any goroutine until SetTenant is called, the loop only from then on.
func (c *Conn) Loop() *Loop { return c.lane.loop }

func (c *Conn) carrier() carrier { return *c.via }

// Handler returns the current handler.
func (c *Conn) Handler() Handler { return c.handler }

// SetHandler makes h the handler from the next callback on; it gets no HandleOpen.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// IsOpen reports whether frames are still accepted: false after Close, CloseAfterFlush or Detach.
func (c *Conn) IsOpen() bool { return c.state == stateOpen }

// QueuedBytes returns how many bytes wait to be written, as they count against Options.OutboundLimit.
func (c *Conn) QueuedBytes() int { return int(c.out.size) }

// Lags reports whether the bytes that wait to be written reach Options.OutboundLimit divided by part.
func (c *Conn) Lags(part int) bool {
	return int(c.out.size) >= c.Loop().group.options.OutboundLimit/part
}

// TLS returns the state of a TLS connection, nil for others.
func (c *Conn) TLS() *tls.ConnectionState { return c.carrier().tlsState() }

// Drained is a [Handler] that calls NotifyDrained.
type Drained interface {
	// HandleDrained is called once for each NotifyDrained, unless the connection is closed first.
	HandleDrained(c *Conn)
}

// NotifyDrained has the handler's HandleDrained called once less than a quarter of Options.OutboundLimit waits to be
// written. The call never happens inside NotifyDrained.
func (c *Conn) NotifyDrained() {
	c.flags |= flagAwaited
	c.noteDrained()
}

// noteDrained posts the call that NotifyDrained asked for. It is called after each write. A write may be part of a
// batch, during which no handler may run.
func (c *Conn) noteDrained() {
	if c.flags&flagAwaited != 0 && int(c.out.size) < c.Loop().group.options.OutboundLimit/4 {
		c.flags &^= flagAwaited
		c.lane.Post((*drained)(c))
	}
}

// drained is a Conn as the task that calls HandleDrained.
type drained Conn

// Run is for the loop.
func (d *drained) Run() {
	c := (*Conn)(d)
	if h, ok := c.handler.(Drained); ok && c.state == stateOpen {
		h.HandleDrained(c)
	}
}

// Send queues a frame and takes over one reference to it, even if the frame is dropped. The frame is written at the end
// of the turn, in one write with everything else that waits for this connection. If more than Options.OutboundLimit
// bytes would wait, Send tries to write at once, so that only what the peer does not take counts; then Options.Overflow
// decides. Frames for a connection that is no longer open are dropped.
func (c *Conn) Send(f *Frame) {
	l := c.Loop()
	if c.state != stateOpen {
		f.Release()
		l.stats.droppedClosed.Add(1)
		return
	}
	if len(f.data) == 0 {
		f.Release()
		return
	}
	l.sends++
	l.burst++
	if cost := f.Cost(l.group.options.OutboundLimit); int(c.out.size)+cost > l.group.options.OutboundLimit && !c.makeRoom(cost) {
		f.Release()
		return
	}
	c.out.push(l, f)
	l.markDirty(c)
}

// makeRoom applies the overflow policy for a frame that counts size bytes and reports whether the frame can be queued.
func (c *Conn) makeRoom(size int) bool {
	l := c.Loop()
	if c.flags&flagBlocked == 0 {
		c.carrier().flush(c)
		if c.state != stateOpen {
			l.stats.droppedClosed.Add(1)
			return false
		}
	}
	limit := l.group.options.OutboundLimit
	fits := func() bool { return c.out.size == 0 || int(c.out.size)+size <= limit }
	if fits() {
		return true
	}
	switch l.group.options.Overflow {
	case DropNewest:
		l.stats.droppedNewest.Add(1)
		return false
	case DropOldest:
		for !fits() && c.out.dropOldest(l) {
			l.stats.droppedOldest.Add(1)
		}
		if fits() {
			return true
		}
		// What is left is partly written and cannot be taken back.
		l.stats.droppedNewest.Add(1)
		return false
	default:
		c.Close(ErrSlowReceiver)
		return false
	}
}

// Close ends the connection at once: queued frames are dropped, the descriptor is closed in this turn, and HandleClose
// is called after the current callback has returned.
func (c *Conn) Close(reason error) {
	if c.state >= stateClosed {
		return
	}
	if c.state != stateClosing {
		c.reason = reason // CloseAfterFlush gave its own
	}
	c.state = stateClosed
	c.Loop().wheel.remove(c)
	c.Loop().stats.droppedClosed.Add(int64(c.out.clear(c.Loop())))
	c.Loop().dead.push(c.Loop(), c)
	c.Loop().rouse()
}

// CloseAfterFlush writes the queued frames, ends our side of the stream (FIN), waits for the peer to end its side, so
// that no reset overtakes the last bytes, and closes. All of this takes at most within (0 means 5 s). Up to 255 KiB of
// what the peer still sends are read and discarded. HandleClose follows with reason.
func (c *Conn) CloseAfterFlush(reason error, within time.Duration) {
	if c.state != stateOpen {
		return
	}
	if within <= 0 {
		within = lingerDefault
	}
	c.state = stateClosing
	c.reason = reason
	if c.flags&flagBlocked == 0 {
		c.flags |= flagUntried
	}
	c.Loop().wheel.set(c, within)
	c.flags &^= flagPaused
	c.carrier().interest(c)
	c.Loop().markDirty(c)
}

// SetDeadline has HandleTimeout called when no byte arrives for d. Each arriving byte restarts the time, and so does
// ResumeRead, because bytes may have waited; 0 clears the deadline.
func (c *Conn) SetDeadline(d time.Duration) {
	if c.state == stateOpen {
		c.Loop().wheel.set(c, d)
	}
}

// PauseRead stops HandleData until ResumeRead, and lets TCP slow the peer down. If the peer ends its stream meanwhile,
// ResumeRead notices, because earlier bytes come first; epoll notices a reset at once.
func (c *Conn) PauseRead() {
	if c.state == stateOpen && c.flags&flagPaused == 0 {
		c.flags |= flagPaused
		c.carrier().interest(c)
	}
}

// ResumeRead undoes PauseRead. HandleData is not called from inside it.
func (c *Conn) ResumeRead() {
	if c.state == stateOpen && c.flags&flagPaused != 0 {
		c.flags &^= flagPaused
		c.touched = c.Loop().tick
		c.carrier().interest(c)
	}
}

// Detach takes the connection from its loop and returns it as an ordinary net.Conn (a *net.TCPConn for TCP), for
// net/http. No callback follows, not even HandleClose. The caller has to pass on the bytes that HandleData was given.
// Detach must be called from HandleOpen or HandleData, and fails while frames wait that the socket does not take. After
// ErrFramesWaiting, ErrReading and ErrNotOpen the connection stays as it was; any other error has closed it.
func (c *Conn) Detach() (net.Conn, error) {
	if c.state != stateOpen {
		return nil, ErrNotOpen
	}
	if c.out.size > 0 && c.flags&flagBlocked == 0 {
		c.carrier().flush(c)
	}
	if c.state != stateOpen {
		return nil, ErrNotOpen
	}
	if c.out.size > 0 {
		return nil, ErrFramesWaiting
	}
	nc, err := c.carrier().detach(c)
	if err != nil {
		return nil, err
	}
	c.state = stateDetached
	c.Loop().forgetConn(c)
	c.Loop().stats.detached.Add(1)
	return nc, nil
}

// received passes data to the handler.
func (c *Conn) received(data []byte) {
	c.Loop().stats.bytesIn.Add(int64(len(data)))
	c.Loop().stats.reads.Add(1)
	if c.state != stateOpen {
		c.discard(len(data))
		return
	}
	c.touched = c.Loop().tick
	c.Loop().current = c
	c.handler.HandleData(c, data)
	c.Loop().current = nil
}

// discard counts n bytes that came while closing. A peer that sends too much is no longer read: it ends the connection
// itself, or the deadline of CloseAfterFlush does.
func (c *Conn) discard(n int) {
	if c.state != stateClosing {
		return
	}
	c.waste = uint8(min(int(c.waste)+1+n>>10, math.MaxUint8))
	if c.waste == math.MaxUint8 {
		c.flags |= flagPaused
		c.carrier().interest(c)
	}
}

// ended handles the peer's end of stream.
func (c *Conn) ended() {
	if c.out.size > 0 && c.flags&flagBlocked == 0 {
		// The peer may have closed only its side, and wait for the answer to its last bytes.
		c.carrier().flush(c)
	}
	if c.state == stateOpen && c.out.size > 0 && c.fd < 0 {
		// The writing goroutine is still busy.
		c.CloseAfterFlush(ErrPeerClosed, time.Second)
	}
	if c.state == stateClosing && c.flags&flagFinSent == 0 {
		c.flags |= flagEnded
		c.carrier().interest(c)
		return
	}
	c.Close(ErrPeerClosed)
}

// expired handles a deadline that has passed.
func (c *Conn) expired() {
	switch {
	case c.state == stateClosing && c.flags&flagUntried == 0:
		c.Close(c.reason)
		return
	case c.state == stateClosing:
		c.touched = c.Loop().tick
		c.Loop().wheel.place(c, c.touched+c.timer.idle)
		return
	case c.flags&(flagParked|flagUnread) != 0: // its bytes wait for the loop
		c.touched = c.Loop().tick
		c.Loop().wheel.place(c, c.touched+c.timer.idle)
		return
	}
	c.Loop().current = c
	c.handler.HandleTimeout(c)
	c.Loop().current = nil
}

// SetNewcomer has the loop read c after its tenant's other connections if there is more to read than fits into one turn,
// and no more of such connections in a turn than a part of it: those who are being served do not wait behind those who
// have just come. Connections without descriptors are not put off.
func (c *Conn) SetNewcomer(is bool) {
	if is {
		c.flags |= flagNewcomer
	} else {
		c.flags &^= flagNewcomer
	}
}

// isNewcomer reports whether others are read first. All connections of the lobby are newcomers.
func (c *Conn) isNewcomer() bool { return c.flags&flagNewcomer != 0 || c.lane == c.lane.loop.lobby }

// reads reports whether bytes are wanted from the peer.
func (c *Conn) reads() bool {
	return c.state <= stateClosing && c.flags&(flagPaused|flagParked|flagEnded) == 0
}
