package netloop

import (
	"crypto/tls"
	"math"
	"net"
	"time"
)

// Handler is told what happens to a connection, always on the connection's loop. Its methods must not block.
type Handler interface {
	// HandleOpen is called first and once.
	HandleOpen(c *Conn)
	// HandleData is given bytes as they arrive. data is valid during the call and may be modified.
	HandleData(c *Conn, data []byte)
	// HandleTimeout is called when no byte came for the time of SetDeadline. The deadline is off then, until
	// SetDeadline is called again.
	HandleTimeout(c *Conn)
	// HandleClose is called last and once, never from inside another callback or a method of c, unless the connection
	// was detached. Nothing may be done with c afterwards but Send, which drops the frame.
	HandleClose(c *Conn, reason error)
}

// carrier is what takes a connection's bytes: the loop's epoll for descriptors, a stream of its own for a net.Conn.
// All methods are called on the loop.
type carrier interface {
	// flush writes what waits in c.out as far as the peer takes it, and ends the stream when c.closing() and nothing waits.
	flush(c *Conn)
	// interest adapts to c.flags: whether to read, and on epoll whether to wait for room to write.
	interest(c *Conn)
	// close frees the descriptor or the goroutines.
	close(c *Conn)
	// detach gives the connection away. On an error the connection is as before, unless it says otherwise in c.state.
	detach(c *Conn) (net.Conn, error)
	// tlsState returns the state of a TLS connection and nil for others.
	tlsState() *tls.ConnectionState
}

type connState uint8

const (
	stateOpening connState = iota
	stateOpen
	stateClosing  // CloseAfterFlush: what waits is written, what comes is thrown away, and soon not read any more
	stateClosed   // waits for HandleClose, or had it
	stateDetached // belongs to somebody else
)

type connFlags uint16

const (
	flagDirty   connFlags = 1 << iota // stands in one of the loop's rings of connections to write
	flagPrompt                        // in that for small tasks
	flagBlocked                       // the socket or the writing goroutine takes no more now
	flagPaused                        // by PauseRead
	flagParked                        // by overload
	flagEnded                         // the peer's end of stream came while frames were still being written
	flagFinSent                       // our end of stream was sent
	flagUnread                        // stands in its lane's ring of those to read
	flagAwaited                       // by NotifyDrained
)

// Conn is a connection. It belongs to its loop: only Loop may be called from any goroutine. It is kept small, at most
// 128 bytes on Linux, because idle connections are what a server has most of.
type Conn struct {
	// Static after construction.
	loop    *Loop
	carrier carrier
	fd      int32 // -1 for a stream
	index   int32 // in loop.conns

	// Owned by the loop.
	handler Handler
	reason  error // why it is closing or closed
	out     outbox
	timer   timer
	touched uint32 // the tick in which the last byte came, for timer
	lane    uint32 // the number of its lane in loop.lanes
	flags   connFlags
	state   connState
	armed   uint8 // what epoll was last told: bits armedIn, armedOut
	waste   uint8 // what was read and thrown away while closing, in KiB; a read counts as one at least
}

// Loop returns the loop that owns the connection. Any goroutine.
func (c *Conn) Loop() *Loop { return c.loop }

// Handler returns the handler that is told next.
func (c *Conn) Handler() Handler { return c.handler }

// SetHandler makes h the handler from the next callback on; it gets no HandleOpen.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// IsOpen reports whether frames are still taken: false from Close, CloseAfterFlush or Detach on.
func (c *Conn) IsOpen() bool { return c.state == stateOpen }

// QueuedBytes returns how many bytes wait to be written, as they count against Options.OutboundLimit.
func (c *Conn) QueuedBytes() int { return int(c.out.size) }

// Lags reports whether what waits to be written counts a part-th of Options.OutboundLimit or more.
func (c *Conn) Lags(part int) bool { return int(c.out.size) >= c.loop.group.options.OutboundLimit/part }

// TLS returns the state of an adopted TLS connection, nil for others.
func (c *Conn) TLS() *tls.ConnectionState { return c.carrier.tlsState() }

// Drained is a [Handler] that calls NotifyDrained.
type Drained interface {
	// HandleDrained is called once for each NotifyDrained, unless the connection is closed before.
	HandleDrained(c *Conn)
}

// NotifyDrained calls HandleDrained of the handler when the peer has taken most of what waits: when that counts less than
// a quarter of Options.OutboundLimit. It is never called from inside NotifyDrained.
func (c *Conn) NotifyDrained() {
	c.flags |= flagAwaited
	c.noteDrained()
}

// noteDrained keeps the promise of NotifyDrained. It is called whenever something was written, by a batch too, in whose midst
// no handler may run.
func (c *Conn) noteDrained() {
	if c.flags&flagAwaited != 0 && int(c.out.size) < c.loop.group.options.OutboundLimit/4 {
		c.flags &^= flagAwaited
		c.loop.lane(c).Post((*drained)(c))
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

// Send queues a frame and takes over one reference to it, also when the frame is dropped. It is written at the end of
// the turn, in one write with everything else that waits for this connection. When more than Options.OutboundLimit
// bytes would wait, a write is tried at once, so that only what the peer does not take counts, and then
// Options.Overflow decides. Frames for a connection that is no longer open are dropped.
func (c *Conn) Send(f *Frame) {
	l := c.loop
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
	l := c.loop
	if c.flags&flagBlocked == 0 {
		c.carrier.flush(c)
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

// Close ends the connection at once: what waits is dropped, the descriptor is closed in this turn and HandleClose
// called after the current callback has returned.
func (c *Conn) Close(reason error) {
	if c.state >= stateClosed {
		return
	}
	if c.state != stateClosing {
		c.reason = reason // CloseAfterFlush gave its own
	}
	c.state = stateClosed
	c.loop.wheel.remove(c)
	c.loop.stats.droppedClosed.Add(int64(c.out.clear(c.loop)))
	c.loop.dead.push(c.loop, c)
	c.loop.rouse()
}

// CloseAfterFlush writes what waits, then ends our side of the stream (FIN), waits for the peer to end its own, so
// that no reset overtakes the last bytes, and closes; within bounds all of it (0 is 5 s). Of what the peer still sends
// 255 KiB are read and thrown away; the rest is not read. HandleClose comes when it is over, with reason.
func (c *Conn) CloseAfterFlush(reason error, within time.Duration) {
	if c.state != stateOpen {
		return
	}
	if within <= 0 {
		within = lingerDefault
	}
	c.state = stateClosing
	c.reason = reason
	c.loop.wheel.set(c, within)
	c.flags &^= flagPaused
	c.carrier.interest(c)
	c.loop.markDirty(c)
}

// SetDeadline calls HandleTimeout when no byte arrives for d. Bytes that arrive start the time anew; 0 ends it.
func (c *Conn) SetDeadline(d time.Duration) {
	if c.state == stateOpen {
		c.loop.wheel.set(c, d)
	}
}

// PauseRead stops HandleData until ResumeRead, and lets TCP slow the peer down. A peer that ends its stream meanwhile
// is noticed on ResumeRead, because what it sent before comes first; one that resets it is noticed at once on epoll.
func (c *Conn) PauseRead() {
	if c.state == stateOpen && c.flags&flagPaused == 0 {
		c.flags |= flagPaused
		c.carrier.interest(c)
	}
}

// ResumeRead undoes PauseRead. HandleData is not called from inside it.
func (c *Conn) ResumeRead() {
	if c.state == stateOpen && c.flags&flagPaused != 0 {
		c.flags &^= flagPaused
		c.carrier.interest(c)
	}
}

// Detach takes the connection from its loop and returns it as an ordinary net.Conn (a *net.TCPConn for TCP), for
// net/http. There will be no further callback, HandleClose included. Bytes that HandleData was given before are the
// caller's to hand on. It must be called from HandleOpen or HandleData, and not while frames wait that the socket does
// not take. On ErrFramesWaiting, ErrReading and ErrNotOpen the connection stays; any other error has closed it.
func (c *Conn) Detach() (net.Conn, error) {
	if c.state != stateOpen {
		return nil, ErrNotOpen
	}
	if c.out.size > 0 && c.flags&flagBlocked == 0 {
		c.carrier.flush(c)
	}
	if c.state != stateOpen {
		return nil, ErrNotOpen
	}
	if c.out.size > 0 {
		return nil, ErrFramesWaiting
	}
	nc, err := c.carrier.detach(c)
	if err != nil {
		return nil, err
	}
	c.state = stateDetached
	c.loop.forgetConn(c)
	c.loop.stats.detached.Add(1)
	return nc, nil
}

// received hands on what was read.
func (c *Conn) received(data []byte) {
	c.loop.stats.bytesIn.Add(int64(len(data)))
	c.loop.stats.reads.Add(1)
	if c.state != stateOpen {
		c.discard(len(data))
		return
	}
	c.touched = c.loop.tick
	c.loop.current = c
	c.handler.HandleData(c, data)
	c.loop.current = nil
}

// discard throws away n bytes that came while closing. A peer that does not stop is not read any more: the deadline of
// CloseAfterFlush ends the connection, or the peer does.
func (c *Conn) discard(n int) {
	if c.state != stateClosing {
		return
	}
	c.waste = uint8(min(int(c.waste)+1+n>>10, math.MaxUint8))
	if c.waste == math.MaxUint8 {
		c.flags |= flagPaused
		c.carrier.interest(c)
	}
}

// ended handles the peer's end of stream.
func (c *Conn) ended() {
	if c.out.size > 0 && c.flags&flagBlocked == 0 {
		// The peer may have closed one side only and wait for the answer to what it sent last.
		c.carrier.flush(c)
	}
	if c.state == stateOpen && c.out.size > 0 && c.fd < 0 {
		// The writing goroutine has it in hand.
		c.CloseAfterFlush(ErrPeerClosed, time.Second)
	}
	if c.state == stateClosing && c.flags&flagFinSent == 0 {
		c.flags |= flagEnded
		c.carrier.interest(c)
		return
	}
	c.Close(ErrPeerClosed)
}

// expired handles a deadline that has passed.
func (c *Conn) expired() {
	if c.state == stateClosing {
		c.Close(c.reason)
		return
	}
	c.loop.current = c
	c.handler.HandleTimeout(c)
	c.loop.current = nil
}

// reads reports whether bytes are wanted from the peer.
func (c *Conn) reads() bool {
	return c.state <= stateClosing && c.flags&(flagPaused|flagParked|flagEnded) == 0
}
