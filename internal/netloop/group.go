package netloop

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Group is a set of loops that share listeners and limits.
type Group struct {
	// Static after construction.
	options Options
	loops   []*Loop
	lobby   *Tenant
	ending  chan struct{} // closed when the loops have ended

	handshakes *handshakes

	next     atomic.Uint32  // the loop that gets the next connection
	routines sync.WaitGroup // goroutines of streams and portable listeners

	// Guarded by mu.
	mu        sync.Mutex
	closed    bool
	listeners map[*Listener]struct{}
	pending   map[*stream]struct{} // streams that no loop owns yet
}

// New starts a group of loops.
func New(o Options) (*Group, error) {
	g := &Group{
		options:   o.withDefaults(),
		listeners: map[*Listener]struct{}{},
		pending:   map[*stream]struct{}{},
		ending:    make(chan struct{}),
	}
	g.handshakes = newHandshakes(g.options.Handshakes)
	g.lobby = &Tenant{group: g}
	for i := range g.options.Loops {
		l := newLoop(g, i)
		l.lobby = &Lane{loop: l, tenant: g.lobby, budget: lobbyReads, late: lobbyReads}
		g.lobby.lanes = append(g.lobby.lanes, l.lobby)
		p, err := newPoller(l, g.options.Portable)
		if err != nil {
			g.Close()
			return nil, err
		}
		l.poller = p
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// newPoller starts the goroutine of l.
func newPoller(l *Loop, portable bool) (poller, error) {
	if portable {
		if l.group.options.IOUring == IOUringOn {
			return nil, errNoDescriptors
		}
		l.plain = errNoDescriptors
		return newParker(l), nil
	}
	return newEpoll(l)
}

// PlainSends returns why the loops started without io_uring, nil if they use it. Any goroutine.
func (g *Group) PlainSends() error {
	for _, l := range g.loops {
		if l.plain != nil {
			return l.plain
		}
	}
	return nil
}

// Loops returns the loops; the slice is the group's. Any goroutine.
func (g *Group) Loops() []*Loop { return g.loops }

// Delay returns the longest [Loop.Delay]. Any goroutine.
func (g *Group) Delay() time.Duration {
	most := time.Duration(0)
	for _, l := range g.loops {
		most = max(most, l.Delay())
	}
	return most
}

// HandshakeDelay returns how long a TLS handshake that begins now would have to wait for a processor. Any goroutine.
func (g *Group) HandshakeDelay() time.Duration { return g.handshakes.delay() }

// Listen opens a TCP listener, with SO_REUSEADDR and the system's longest backlog, and serves it like Serve.
func (g *Group) Listen(addr string, accept Accept) (*Listener, error) {
	nl, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return g.Serve(nl, accept)
}

// Accept makes the handler of an accepted connection. It is called on the connection's loop, possibly by several loops
// at once. peer is the zero value if the connection has no such address.
type Accept func(peer netip.AddrPort) Handler

// Serve accepts connections from nl and distributes them over the loops. On Linux it uses the descriptor of a TCP or
// Unix listener directly. Connections of a TLS listener complete their handshake before HandleOpen. The Listener takes
// over nl, which is closed if Serve returns an error. Any goroutine.
func (g *Group) Serve(nl net.Listener, accept Accept) (*Listener, error) {
	ln := &Listener{group: g, addr: nl.Addr(), accept: accept}
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.listeners[ln] = struct{}{}
		ln.start.Add(1)
	}
	g.mu.Unlock()
	if closed {
		nl.Close()
		return nil, ErrClosed
	}
	err := ln.open(nl)
	ln.start.Done()
	if err != nil {
		g.forgetListener(ln)
		nl.Close()
		return nil, err
	}
	return ln, nil
}

// Adopt takes over a connection, such as one that net/http hijacked or a TLS connection. leftover is what was already
// read from it; it is passed to HandleData right after HandleOpen and belongs to the group. A *net.TCPConn becomes a
// raw descriptor on Linux. A TLS connection completes its handshake first. The group takes over c, which is closed if
// Adopt returns an error. If it is lost later, and before HandleOpen, h is told as [Lost]. Any goroutine.
func (g *Group) Adopt(c net.Conn, leftover []byte, h Handler) error {
	return g.nextLoop().Adopt(c, leftover, h)
}

// Adopt is [Group.Adopt] for a connection that has to be on this loop.
func (l *Loop) Adopt(c net.Conn, leftover []byte, h Handler) error {
	accept := func(netip.AddrPort) Handler { return h }
	l.stats.adopted.Add(1)
	if raw, err := l.takeDescriptor(c); err != nil {
		c.Close()
		return err
	} else if raw != nil {
		if !l.Post(&opening{conn: raw, accept: accept, adopter: h, leftover: leftover}) {
			raw.carrier().close(raw)
			return ErrClosed
		}
		return nil
	}
	return l.group.startStream(l, c, &opening{accept: accept, adopter: h, leftover: leftover})
}

// handful is how many connections in a row a listener gives to one loop: a sixteenth of what a loop has. One by one, a
// few connections would wake all loops: with 8,000 clients that join a server with two loops, on the same two
// processors, each cost 1.65 times what the C program takes, and 1.51 by the handful.
func (g *Group) handful() int {
	n := int64(0)
	for _, l := range g.loops {
		n += l.stats.connections.Load()
	}
	return 1 + int(min(n/int64(16*len(g.loops)), handfulMost-1))
}

// nextLoop returns the loop for the next connection.
func (g *Group) nextLoop() *Loop {
	return g.loops[g.next.Add(1)%uint32(len(g.loops))]
}

// Close closes all listeners and connections (HandleClose is called with ErrClosed), runs the tasks that were posted
// before, and returns when no goroutine and no descriptor of the group is left. Any goroutine but a loop's own.
func (g *Group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrClosed
	}
	g.closed = true
	listeners := make([]*Listener, 0, len(g.listeners))
	for ln := range g.listeners {
		listeners = append(listeners, ln)
	}
	for s := range g.pending {
		abort(s.nc)
	}
	g.mu.Unlock()

	for _, ln := range listeners {
		ln.start.Wait()
		ln.Close()
	}
	for _, l := range g.loops {
		l.postUrgent(TaskFunc(l.shutdown))
	}
	for _, l := range g.loops {
		<-l.done
	}
	close(g.ending)
	g.routines.Wait()
	for _, l := range g.loops {
		l.poller.stop()
	}
	return nil
}

func (g *Group) forgetListener(ln *Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.listeners, ln)
}

// opening is a connection on its way to its loop.
type opening struct {
	conn     *Conn
	accept   Accept
	adopter  Handler // given to Adopt; nil: a listener accepted it
	peer     netip.AddrPort
	leftover []byte
}

// Run opens the connection on its loop.
func (o *opening) Run() {
	if err := o.conn.open(o.accept, o.peer, o.leftover); err != nil {
		o.lose(err)
	}
}

// lose tells the handler that the connection is lost.
func (o *opening) lose(reason error) {
	if h, ok := o.adopter.(Lost); ok {
		h.HandleLost(reason)
	}
}

// opener is implemented by carriers. begin starts the flow of bytes.
type opener interface{ begin(c *Conn) error }

// open makes c one of its loop's connections. If it returns an error, c is closed.
func (c *Conn) open(accept Accept, peer netip.AddrPort, leftover []byte) error {
	l := c.Loop()
	if l.stopping {
		c.carrier().close(c)
		return ErrClosed
	}
	if o, ok := c.carrier().(opener); ok {
		if err := o.begin(c); err != nil {
			l.stats.refused.Add(1)
			l.group.options.OnError(err)
			c.carrier().close(c)
			return err
		}
	}
	c.handler = accept(peer)
	c.state = stateOpen
	l.ownConn(c)
	l.current = c
	c.handler.HandleOpen(c)
	l.current = nil
	if len(leftover) > 0 {
		c.received(leftover)
	}
	if c.state <= stateClosing {
		c.carrier().interest(c)
	}
	return nil
}
