package netloop

import (
	"net"
	"os"
	"syscall"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// acceptor accepts on a loop, for all loops of the group.
type acceptor struct {
	// Static after construction.
	ln   *Listener
	loop *Loop
	ep   *netpoll.Epoll
	fd   int

	// Owned by the loop.
	from   unix.RawSockaddrAny // who was accepted last
	to     *Loop               // who gets the next connections
	left   int                 // how many of them
	pause  *Conn               // stands on the wheel while the listener rests; carries nothing
	failed acceptErrors
	closed bool
}

// openRaw accepts from nl's descriptor; a nil stop says that it has none that can be used.
func (ln *Listener) openRaw(nl net.Listener) (stop func(), err error) {
	switch nl.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return nil, nil
	}
	fd, err := duplicate(nl.(syscall.Conn))
	if err != nil {
		return nil, err
	}
	setSocketOptions(fd, &ln.group.options)
	l := ln.group.nextLoop()
	a := &acceptor{ln: ln, loop: l, ep: l.poller.(*epoll).ep, fd: fd}
	a.pause = &Conn{loop: l, handler: a, state: stateOpen, fd: -1}
	if err := a.ep.Add(fd, netpoll.EPOLLIN, a.event); err != nil {
		a.ep.Del(fd)
		unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return func() { a.stop(nl) }, nil
}

// stop ends accepting. nl was kept until now because closing a Unix listener removes its path.
func (a *acceptor) stop(nl net.Listener) {
	done := make(chan struct{})
	a.loop.postUrgent(TaskFunc(func() {
		a.closed = true
		a.loop.wheel.remove(a.pause)
		a.ep.Del(a.fd)
		unix.Close(a.fd)
		close(done)
	}))
	<-done
	nl.Close()
}

// event accepts what waits, a portion at a time.
func (a *acceptor) event(netpoll.EpollEvent) {
	if a.closed {
		return
	}
	a.loop.begin()
	for range acceptChunk {
		fd, errno := accept4(a.fd, &a.from)
		switch errno {
		case 0:
			a.hand(fd)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			a.rest(errno)
			return
		}
	}
}

// hand gives a new descriptor to the loop whose turn it is.
func (a *acceptor) hand(fd int) {
	if a.left == 0 {
		a.to, a.left = a.ln.group.nextLoop(), a.ln.group.handful()
	}
	a.left--
	l := a.to
	e := l.poller.(*epoll)
	limitSilence(fd, l.group.options.PeerTimeout)
	c := &Conn{loop: l, carrier: e, fd: int32(fd)}
	l.stats.accepted.Add(1)
	peer := peerOf(&a.from)
	if l == a.loop {
		c.open(a.ln.accept, peer, nil)
	} else if !l.Post(&opening{conn: c, accept: a.ln.accept, peer: peer}) {
		e.close(c)
	}
}

// rest stops accepting for a while: without free descriptors epoll would report the listener again and again.
func (a *acceptor) rest(errno unix.Errno) {
	a.failed.report(a.ln.group, os.NewSyscallError("accept4", errno))
	if err := a.ep.Mod(a.fd, 0); err != nil {
		a.ln.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
	a.loop.wheel.set(a.pause, acceptPause)
}

// HandleTimeout accepts again.
func (a *acceptor) HandleTimeout(*Conn) {
	if err := a.ep.Mod(a.fd, netpoll.EPOLLIN); err != nil {
		a.ln.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
}

// HandleOpen, HandleData and HandleClose are never called: pause carries nothing.
func (a *acceptor) HandleOpen(*Conn)         {}
func (a *acceptor) HandleData(*Conn, []byte) {}
func (a *acceptor) HandleClose(*Conn, error) {}
