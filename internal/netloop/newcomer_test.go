package netloop

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// A connection that is being served does not wait behind all newcomers that have something to read, and it can be seen
// how long they wait.
func TestNewcomersWait(t *testing.T) {
	w := ways[0]
	w.possible(t)
	g := newGroup(t, w.with(Options{Loops: 1, Tick: time.Millisecond}))
	l := g.Loops()[0]
	tenant := g.NewTenant()
	const many, size = 60, 16 * readUnit
	read, before, delay := 0, -1, time.Duration(0)
	opened := make(chan struct{}, 1)
	join := func(newcomer bool, data func(*Conn, []byte)) *net.TCPConn {
		h := &hooks{data: data, open: func(c *Conn) { c.SetTenant(tenant); c.SetNewcomer(newcomer); opened <- struct{}{} }}
		peer := dial(t, listen(t, g, func(netip.AddrPort) Handler { return h }))
		receive(t, "HandleOpen", opened)
		return peer
	}
	var peers []*net.TCPConn
	for range many {
		peers = append(peers, join(true, func(*Conn, []byte) {
			read++
			delay = max(delay, min(l.Delay(), g.Delay(), g.Stats().NewcomerDelay))
			time.Sleep(time.Millisecond) // what a join may take
		}))
	}
	other := join(false, func(*Conn, []byte) { before = read })
	open := gated(t, l)
	for _, p := range peers {
		if _, err := p.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	other.Write([]byte("x"))
	open()
	on := func(f func()) {
		done := make(chan struct{})
		tenant.Lanes()[0].Post(TaskFunc(func() { f(); close(done) }))
		receive(t, "a task", done)
	}
	eventually(t, "all read", func() (all bool) {
		on(func() { all = read == many && before >= 0 })
		return all
	})
	on(func() {
		if most := newcomerReads/(size/readUnit) + 1; before > most {
			t.Errorf("the other was read after %d newcomers, want at most %d", before, most)
		}
		if delay < 2*time.Millisecond {
			t.Errorf("the last ones have waited for %s", delay)
		}
	})
	eventually(t, "no delay", func() bool { return g.Delay() == 0 })
}

// A newcomer that has settled is read like the others, even if it was put off before.
func TestSettle(t *testing.T) {
	g := newGroup(t, Options{Loops: 1, Portable: true})
	l := g.Loops()[0]
	done := make(chan struct{})
	l.Post(TaskFunc(func() {
		defer close(done)
		c := &Conn{lane: l.lobby, via: carriedBy(&order{}), handler: &hooks{}, fd: -1, state: stateClosed}
		a := g.NewTenant().Lanes()[0]
		c.SetNewcomer(true)
		a.putOff(c)
		c.SetNewcomer(false)
		a.putOff(c) // as epoll reports it again
		if a.waiting.n != 1 || a.unread.n != 0 || l.unread.n != 1 {
			t.Errorf("%d late, %d others, %d lanes", a.waiting.n, a.unread.n, l.unread.n)
		}
		l.readLane(l.unread.pop())
		if a.waiting.n != 0 || l.unread.n != 0 || c.flags&(flagUnread|flagNewcomer) != 0 {
			t.Errorf("%d late, %d lanes, flags %b", a.waiting.n, l.unread.n, c.flags)
		}
	}))
	receive(t, "the task", done)
}
