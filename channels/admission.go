package channels

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// addresses counts connections, in all and by IP address, against the limits.
type addresses struct {
	// Static after NewEndpoint.
	anonymous ticket // of all connections without a limit by address

	total atomic.Int64 // always counted: a limit may come later

	// Guarded by mu.
	mu         sync.Mutex
	by         map[netip.Addr]int // those that came under MaxConnectionsPerAddress
	handshakes bucket
}

// ticket is one counted connection, or all those that need no ticket of their
// own; nil for what is not counted. It does not change.
type ticket struct {
	of    *addresses
	addr  netip.Addr // zero without MaxConnectionsPerAddress
	outer *ticket    // a guest's: of its host
}

// within is the ticket of a connection that its host has counted as outer.
func (t *ticket) within(outer *ticket) *ticket {
	if t == nil {
		return outer
	}
	if t.outer == outer {
		return t
	}
	return &ticket{of: t.of, addr: t.addr, outer: outer}
}

var (
	errTooManyConnections = errors.New("channels: Limits.MaxConnections is reached")
	errTooManyFromAddress = errors.New("channels: Limits.MaxConnectionsPerAddress is reached")
)

// enter counts a connection or a long-poll session in, or refuses it.
func (e *Endpoint) enter(peer netip.Addr) (*ticket, error) {
	l, a := e.live.Load(), &e.admitted
	if total := a.total.Add(1); l.MaxConnections > 0 && total > int64(l.MaxConnections) {
		a.total.Add(-1)
		e.counters.refused.Add(1)
		return nil, errTooManyConnections
	}
	if l.MaxConnectionsPerAddress <= 0 {
		return &a.anonymous, nil
	}
	addr := peer.Unmap()
	switch {
	case !addr.IsValid(): // a Unix socket's peer
		return &a.anonymous, nil
	case !a.enterFrom(addr, l.MaxConnectionsPerAddress):
		a.total.Add(-1)
		e.counters.refused.Add(1)
		return nil, errTooManyFromAddress
	}
	return &ticket{of: a, addr: addr}, nil
}

// enterPeer counts a connection from peer. What a trusted proxy opens counts
// for no address until enterClient.
func (e *Endpoint) enterPeer(peer netip.Addr) (*ticket, error) {
	if e.trusts(peer) {
		peer = netip.Addr{}
	}
	return e.enter(peer)
}

// enterClient counts the connection of t, which counts for no address, for
// client: whom a trusted proxy opened it for.
func (e *Endpoint) enterClient(t *ticket, client netip.Addr) (*ticket, error) {
	a, most := &e.admitted, e.live.Load().MaxConnectionsPerAddress
	client = client.Unmap()
	if most <= 0 || !client.IsValid() || t == nil || t.addr.IsValid() || e.trusts(client) {
		return t, nil
	}
	if !a.enterFrom(client, most) {
		e.counters.refused.Add(1)
		return t, errTooManyFromAddress
	}
	return &ticket{of: a, addr: client}, nil
}

// enterFrom counts a connection of addr in, unless there are most already.
func (a *addresses) enterFrom(addr netip.Addr, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by[addr] >= most {
		return false
	}
	if a.by == nil {
		a.by = make(map[netip.Addr]int)
	}
	a.by[addr]++
	return true
}

// enterGuest counts a connection that its host has counted as outer; it takes
// outer over only without an error. For a host it is outer that counts.
func (e *Endpoint) enterGuest(outer *ticket, peer netip.Addr) (*ticket, error) {
	if e.host == nil {
		return outer, nil
	}
	t, err := e.enter(peer)
	return t.within(outer), err
}

// enterBoth counts what is no connection of the host's yet.
func (e *Endpoint) enterBoth(peer netip.Addr) (*ticket, error) {
	host := e
	if e.host != nil {
		host = e.host
	}
	outer, err := host.enter(peer)
	if err != nil {
		return nil, err
	}
	t, err := e.enterGuest(outer, peer)
	if err != nil {
		leave(outer)
		return nil, err
	}
	return t, nil
}

// leave counts a connection out; one that was refused has no ticket.
func leave(t *ticket) {
	for ; t != nil; t = t.outer {
		t.of.remove(t.addr)
	}
}

func (a *addresses) remove(addr netip.Addr) {
	a.total.Add(-1)
	if !addr.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by[addr]--; a.by[addr] == 0 {
		delete(a.by, addr)
	}
}

// busy refuses handshakes while the endpoint drains or above the rate. Clients
// of Phoenix come back by themselves, each with its own back-off.
func (e *Endpoint) busy() *refusal {
	if e.isDraining() {
		return unavailable("2")
	}
	if e.host != nil {
		if ref := e.host.busy(); ref != nil {
			return ref
		}
	}
	rate := e.live.Load().HandshakesPerSecond
	if rate <= 0 {
		return nil
	}
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.rate = rate
	if !a.handshakes.take(time.Now()) {
		e.counters.refused.Add(1)
		return unavailable("1")
	}
	return nil
}

// refusalFor is the answer to a head that is malformed.
func refusalFor(err error) *refusal {
	var wrong *websocket.HandshakeError
	if errors.As(err, &wrong) {
		return &refusal{status: wrong.Status, header: wrong.Header(), body: wrong.Reason}
	}
	return badRequest
}
