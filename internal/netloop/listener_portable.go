package netloop

import (
	"net"
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// openPortable accepts on a goroutine.
func (ln *Listener) openPortable(nl net.Listener) (stop func()) {
	quit := make(chan struct{})
	ended := make(chan struct{})
	ln.group.routines.Add(1)
	go func() {
		defer ln.group.routines.Done()
		defer close(ended)
		ln.acceptStreams(nl, quit)
	}()
	return func() {
		close(quit)
		nl.Close()
		<-ended
	}
}

// acceptStreams accepts until quit is closed.
func (ln *Listener) acceptStreams(nl net.Listener, quit chan struct{}) {
	g := ln.group
	var failed acceptErrors
	for {
		c, err := acceptFrom(nl)
		if err == nil {
			l := g.nextLoop()
			l.stats.accepted.Add(1)
			_ = g.startStream(l, c, &opening{accept: ln.accept}) // fails only when the group is closed, and then Accept fails too
			continue
		}
		select {
		case <-quit:
			return
		default:
		}
		failed.report(g, err)
		select {
		case <-quit:
			return
		case <-time.After(acceptPause):
		}
	}
}

// acceptFrom calls nl.Accept, which may belong to an application.
func acceptFrom(nl net.Listener) (c net.Conn, err error) {
	defer callback.Recover("net.Listener.Accept", &err)
	return nl.Accept()
}
