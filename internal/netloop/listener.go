package netloop

import (
	"net"
	"sync"
	"time"
)

// Listener accepts connections for a group.
type Listener struct {
	// Static after Serve has returned.
	group  *Group
	addr   net.Addr
	accept Accept
	stop   func() // ends accepting and frees the socket

	start sync.WaitGroup // done when stop is set
	once  sync.Once
}

// Addr returns the listener's address. Any goroutine.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Close stops accepting, frees the socket and then returns; connections stay open. Any goroutine but a loop's own.
func (ln *Listener) Close() error {
	ln.once.Do(func() {
		if ln.stop != nil { // it was opened
			ln.stop()
		}
		ln.group.forgetListener(ln)
	})
	return nil
}

// open starts accepting from nl.
func (ln *Listener) open(nl net.Listener) error {
	if !ln.group.options.Portable {
		if stop, err := ln.openRaw(nl); stop != nil || err != nil {
			ln.stop = stop
			return err
		}
	}
	ln.stop = ln.openPortable(nl)
	return nil
}

// acceptErrors reports errors of accepting, at most once in acceptReport: a process without free descriptors fails
// again whenever a connection ends and another takes its place.
type acceptErrors struct{ told time.Time }

func (a *acceptErrors) report(g *Group, err error) {
	if now := time.Now(); a.told.IsZero() || now.Sub(a.told) >= acceptReport {
		a.told = now
		g.options.OnError(err)
	}
}
