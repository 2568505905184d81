package netloop

import (
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// acceptor accepts on a loop, for all loops of the group.
type acceptor struct {
	// Static after construction.
	ln   *Listener
	loop *Loop
	fd   int

	// Owned by the loop.
	from    unix.RawSockaddrAny // address of the last accepted connection
	to      *Loop               // gets the next connections
	left    int                 // how many of them
	pause   *Conn               // on the wheel while accepting is paused; carries nothing
	failed  acceptErrors
	resting bool
	closed  bool
}

// openRaw accepts from nl's descriptor. stop is nil if nl has no usable one.
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
	a := &acceptor{ln: ln, loop: l, fd: fd}
	a.pause = &Conn{lane: l.lobby, handler: a, state: stateOpen, fd: -1}
	l.postUrgent(TaskFunc(a.start))
	return func() { a.stop(nl) }, nil
}

// poller is the loop's.
func (a *acceptor) poller() *epoll { return a.loop.poller.(*epoll) }

// start starts accepting.
func (a *acceptor) start() {
	e := a.poller()
	e.acceptors = append(e.acceptors, a)
	a.register(e)
}

// register has e report waiting connections.
func (a *acceptor) register(e *epoll) {
	var events netpoll.EpollEvent
	if !a.resting {
		events = netpoll.EPOLLIN
	}
	if err := e.ep.Add(a.fd, events, a.event); err != nil {
		a.loop.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
}

// stop ends accepting. nl was kept until now because closing a Unix listener removes its path.
func (a *acceptor) stop(nl net.Listener) {
	done := make(chan struct{})
	a.loop.postUrgent(TaskFunc(func() {
		defer close(done)
		a.closed = true
		a.loop.wheel.remove(a.pause)
		e := a.poller()
		e.acceptors = slices.DeleteFunc(e.acceptors, func(other *acceptor) bool { return other == a })
		e.ep.Del(a.fd)
		unix.Close(a.fd)
	}))
	<-done
	nl.Close()
}

// event accepts what waits, a portion at a time.
func (a *acceptor) event(netpoll.EpollEvent) {
	if a.closed {
		return
	}
	defer a.loop.rescue()
	a.loop.inside = true
	a.accept()
	a.loop.inside = false
}

func (a *acceptor) accept() {
	a.loop.beginEvent()
	began := a.loop.now
	for i := range acceptMost {
		if i%acceptChunk == acceptChunk-1 && time.Since(began) > newcomerTime {
			return
		}
		fd, errno := accept4(a.fd, &a.from)
		switch errno {
		case 0:
			a.hand(fd)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			a.pauseAccepting(errno)
			return
		}
	}
}

// hand gives a new descriptor to the next loop.
func (a *acceptor) hand(fd int) {
	if a.left == 0 {
		a.to, a.left = a.ln.group.nextLoop(), a.ln.group.handful()
	}
	a.left--
	l := a.to
	e := l.poller.(*epoll)
	limitSilence(fd, l.group.options.PeerTimeout)
	c := &Conn{lane: l.lobby, via: &e.self, fd: int32(fd)}
	l.stats.accepted.Add(1)
	peer := peerOf(&a.from)
	if l == a.loop {
		_ = c.open(a.ln.accept, peer, nil) // it has reported an error
	} else if !l.Post(&opening{conn: c, accept: a.ln.accept, peer: peer}) {
		e.close(c)
	}
}

// pauseAccepting stops accepting for a while, because without free descriptors epoll would report the listener again
// and again.
func (a *acceptor) pauseAccepting(errno unix.Errno) {
	a.failed.report(a.ln.group, os.NewSyscallError("accept4", errno))
	a.resting = true
	if err := a.poller().ep.Mod(a.fd, 0); err != nil {
		a.ln.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
	a.loop.wheel.set(a.pause, acceptPause)
}

// HandleTimeout resumes accepting.
func (a *acceptor) HandleTimeout(*Conn) {
	a.resting = false
	if err := a.poller().ep.Mod(a.fd, netpoll.EPOLLIN); err != nil {
		a.ln.group.options.OnError(os.NewSyscallError("epoll_ctl", err))
	}
}

// HandleOpen, HandleData and HandleClose are never called: pause carries nothing.
func (a *acceptor) HandleOpen(*Conn)         {}
func (a *acceptor) HandleData(*Conn, []byte) {}
func (a *acceptor) HandleClose(*Conn, error) {}
