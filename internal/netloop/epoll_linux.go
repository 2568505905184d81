package netloop

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// epoll is the poller of a loop on Linux, and the carrier of all its descriptors.
//
// easygo's Epoll waits on a goroutine of its own, which becomes the loop's. It calls back for each event of a batch,
// but has no hook for the end of a batch. So the first callback of a batch writes to an eventfd, whose event comes with
// the next batch at the latest; that event's callback runs the turn. The eventfd is edge-triggered and never read: each
// write is an event, and events may be merged.
type epoll struct {
	loop    *Loop
	self    carrier        // e: see Conn.via
	ep      *netpoll.Epoll // static except in replace
	eventFD int
	timerFD int // likewise edge-triggered and never read

	// Owned by the loop.
	acceptors []*acceptor // that are registered
	moved     bool        // ep is new and has only the eventfd registered
}

func newEpoll(l *Loop) (poller, error) {
	eventFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	timerFD, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		unix.Close(eventFD)
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	e := &epoll{loop: l, eventFD: eventFD, timerFD: timerFD}
	e.self = e
	l.poller = e
	l.scratch = make([]byte, scratchSize)
	l.joined = make([]byte, 0, scratchSize)
	if err := e.newBatch(); err != nil {
		e.closeOwn()
		return nil, err
	}
	e.ep, err = netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: l.group.options.OnError})
	if err != nil {
		e.closeOwn()
		return nil, os.NewSyscallError("epoll_create", err)
	}
	if err = e.addEvents(); err == nil {
		err = e.addTimer()
	}
	if err != nil {
		e.stop()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return e, nil
}

func (e *epoll) addEvents() error {
	return e.ep.Add(e.eventFD, netpoll.EPOLLIN|netpoll.EPOLLET, func(netpoll.EpollEvent) {
		if e.moved {
			e.moved = false
			e.moveIn()
		}
		e.loop.runTurn()
	})
}

func (e *epoll) addTimer() error {
	return e.ep.Add(e.timerFD, netpoll.EPOLLIN|netpoll.EPOLLET, func(netpoll.EpollEvent) { e.loop.beginEvent() })
}

// replace moves the loop to a new epoll, because easygo's goroutine closes the old one when it ends. The goroutine of
// the new one takes over the registrations (moveIn), so that no event is handled on two goroutines.
func (e *epoll) replace() {
	old, l := e.ep, e.loop
	for _, c := range l.conns {
		if c.fd >= 0 {
			old.Del(int(c.fd))
		}
	}
	for _, a := range e.acceptors {
		old.Del(a.fd)
	}
	old.Del(e.timerFD)
	old.Del(e.eventFD)
	go old.Close() // waits for this goroutine
	for {
		ep, err := netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: l.group.options.OnError})
		if err == nil {
			e.ep, e.moved = ep, true
			if err = e.addEvents(); err == nil {
				return
			}
			go ep.Close()
		}
		l.group.options.OnError(os.NewSyscallError("epoll_create", err))
		time.Sleep(acceptPause) // nothing else can be done: the loop waits for a free descriptor
	}
}

// moveIn registers everything from the old epoll with the new one.
func (e *epoll) moveIn() {
	if err := e.addTimer(); err != nil {
		e.loop.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
	for _, c := range e.loop.conns {
		if c.fd < 0 {
			continue
		}
		if err := e.ep.Add(int(c.fd), events(c.flags), (*descriptor)(c).event); err != nil {
			c.Close(os.NewSyscallError("epoll_ctl", err))
		}
	}
	for _, a := range e.acceptors {
		a.register(e)
	}
}

var one = [8]byte{1} // an eventfd is written in units of eight bytes; any count will do

func (e *epoll) wake() { rawWrite(e.eventFD, one[:]) }

func (e *epoll) arm(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(e.timerFD, 0, &spec, nil); err != nil {
		e.loop.group.options.OnError(os.NewSyscallError("timerfd_settime", err))
	}
}

func (e *epoll) stop() {
	e.ep.Close()
	e.closeOwn()
}

// closeOwn closes everything that does not belong to easygo.
func (e *epoll) closeOwn() {
	if b := e.loop.batch; b != nil {
		b.close()
	}
	unix.Close(e.eventFD)
	unix.Close(e.timerFD)
}

// descriptor is a Conn as the receiver of epoll events. A method value is the smallest possible callback.
type descriptor Conn

// begin registers c.
func (e *epoll) begin(c *Conn) error {
	c.flags |= flagArmedIn
	if err := e.ep.Add(int(c.fd), events(c.flags), (*descriptor)(c).event); err != nil {
		e.ep.Del(int(c.fd)) // easygo keeps its entry when epoll_ctl fails
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// flagsArmed say what epoll waits for on a connection.
const flagsArmed = flagArmedIn | flagArmedOut

// events translates flagsArmed. It is edge-triggered: bytes are reported when they come, and not again while they wait
// to be read. So what is not read at once must be put off, parked or paused; changing the registration reports it again.
func events(armed connFlags) netpoll.EpollEvent {
	ev := netpoll.EpollEvent(netpoll.EPOLLET)
	if armed&flagArmedIn != 0 {
		ev |= netpoll.EPOLLIN | netpoll.EPOLLRDHUP
	}
	if armed&flagArmedOut != 0 {
		ev |= netpoll.EPOLLOUT
	}
	return ev
}

func (e *epoll) interest(c *Conn) {
	var want connFlags
	if c.reads() {
		want |= flagArmedIn
	}
	if c.flags&flagBlocked != 0 {
		want |= flagArmedOut
	}
	if want == c.flags&flagsArmed {
		return
	}
	c.flags = c.flags&^flagsArmed | want
	if err := e.ep.Mod(int(c.fd), events(want)); err != nil {
		c.Close(os.NewSyscallError("epoll_ctl", err))
	}
}

// event handles an epoll event of a connection, which may have been closed earlier in the same batch.
func (d *descriptor) event(ev netpoll.EpollEvent) {
	c := (*Conn)(d)
	if c.state >= stateClosed {
		return
	}
	l := c.Loop()
	defer l.rescue()
	l.inside = true
	c.handleEvent(ev)
	l.inside = false
}

func (c *Conn) handleEvent(ev netpoll.EpollEvent) {
	l := c.Loop()
	l.beginEvent()
	if ev&netpoll.EPOLLOUT != 0 && c.flags&flagBlocked != 0 {
		c.flags &^= flagBlocked
		l.markDirty(c)
	}
	if ev&(netpoll.EPOLLRDHUP|netpoll.EPOLLERR|netpoll.EPOLLHUP) != 0 {
		c.flags |= flagHungUp
	}
	a := c.lane
	broken := ev&(netpoll.EPOLLERR|netpoll.EPOLLHUP) != 0
	switch {
	case !broken && ev&(netpoll.EPOLLIN|netpoll.EPOLLRDHUP) == 0:
	case !c.reads():
		if broken {
			c.Close(socketError(int(c.fd)))
		}
	case !broken && a.tenant.Overloaded():
		a.park(c)
	case !broken && (c.flags&flagUnread != 0 || !a.mayReadConn(c)):
		a.putOff(c)
	default:
		l.read(c)
	}
}

// read calls recv once, so that no connection can monopolize the loop. If that did not get all, c is put off. Reading also
// finds the end of the stream, after all bytes before it.
func (l *Loop) read(c *Conn) {
	buf := l.scratch[:scratchSize/l.readPart()]
	n, errno := recv(int(c.fd), buf)
	c.lane.charge(c, max(n, 0))
	switch {
	case errno == 0 && n > 0 && c.flags&flagSecured != 0:
		c.carrier().(*secured).receive(c, l.scratch[:n])
	case errno == 0 && n > 0:
		c.received(l.scratch[:n])
	case errno == 0:
		c.ended()
	case errno == unix.EAGAIN || errno == unix.EINTR:
	default:
		c.Close(closeReason(errno))
	}
	if more := n == len(buf) || n > 0 && c.flags&flagHungUp != 0 || errno == unix.EINTR; more && c.reads() {
		c.lane.putOff(c)
	}
}

// flush does all writing to a descriptor outside a batch.
func (e *epoll) flush(c *Conn) {
	for c.out.first != nil {
		buf := c.out.gather(e.loop.joined)
		n, errno := send(int(c.fd), buf)
		if !e.wrote(c, len(buf), n, errno) {
			return
		}
	}
	c.flags &^= flagBlocked
	switch {
	case c.state == stateClosing && c.flags&flagEnded != 0:
		c.Close(c.reason)
		return
	case c.state == stateClosing && c.flags&flagFinSent == 0:
		c.flags |= flagFinSent
		unix.Shutdown(int(c.fd), unix.SHUT_WR) // an error means that the peer is gone, which reading finds
	}
	e.interest(c)
}

// wrote handles the result of a send of size bytes, and reports whether flush may continue.
func (e *epoll) wrote(c *Conn, size, n int, errno unix.Errno) bool {
	switch errno {
	case 0:
		e.loop.stats.writes.Add(1)
		e.loop.stats.bytesOut.Add(int64(n))
		c.out.advance(e.loop, n)
		c.noteDrained()
	case unix.EAGAIN:
		n = 0
	case unix.EINTR:
		return true
	default:
		c.Close(closeReason(errno))
		return false
	}
	if n < size {
		c.flags |= flagBlocked
		e.interest(c)
		return false
	}
	return true
}

func (e *epoll) close(c *Conn) {
	if c.fd < 0 {
		return
	}
	e.ep.Del(int(c.fd))
	unix.Close(int(c.fd))
	c.fd = -1
}

// detach gives the descriptor to Go's own poller.
func (e *epoll) detach(c *Conn) (net.Conn, error) {
	e.ep.Del(int(c.fd))
	f := os.NewFile(uintptr(c.fd), "")
	c.fd = -1
	nc, err := net.FileConn(f) // a duplicate
	f.Close()
	if err != nil {
		c.Close(err)
		return nil, err
	}
	return nc, nil
}

func (e *epoll) tlsState() *tls.ConnectionState { return nil }

// takeDescriptor makes c a connection on a descriptor of our own, if it is TCP and the loop has epoll; else it returns
// nil.
func (l *Loop) takeDescriptor(c net.Conn) (*Conn, error) {
	e, ok := l.poller.(*epoll)
	if !ok {
		return nil, nil
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, nil
	}
	fd, err := duplicate(t)
	if err != nil {
		return nil, err
	}
	t.Close()
	setSocketOptions(fd, &l.group.options)
	return &Conn{lane: l.lobby, via: &e.self, fd: int32(fd)}, nil
}

// duplicate returns a second, non-blocking descriptor for c, which stays usable. os.File would register it with Go's
// poller.
func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(original uintptr) {
		fd, dupErr = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, os.NewSyscallError("fcntl", dupErr)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}
