package channels

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// addresses counts connections, in all and by IP address, against the limits.
type addresses struct {
	mu         sync.Mutex
	total      int
	by         map[netip.Addr]int // only with MaxConnectionsPerAddress
	handshakes bucket
}

// ticket is one counted connection; nil where there is no limit.
type ticket struct {
	of    *addresses
	addr  netip.Addr
	outer *ticket // a guest's: of its host
}

var (
	errTooManyConnections = errors.New("channels: Limits.MaxConnections is reached")
	errTooManyFromAddress = errors.New("channels: Limits.MaxConnectionsPerAddress is reached")
)

// enter counts a connection or a long-poll session in, or refuses it. peer is
// asked only where it matters.
func (e *Endpoint) enter(peer func() netip.AddrPort) (*ticket, error) {
	l := &e.limits
	if l.MaxConnections <= 0 && l.MaxConnectionsPerAddress <= 0 {
		return nil, nil
	}
	a := &e.admitted
	t := &ticket{of: a}
	if l.MaxConnectionsPerAddress > 0 {
		t.addr = peer().Addr().Unmap()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.MaxConnections > 0 && a.total >= l.MaxConnections:
		e.counters.refused.Add(1)
		return nil, errTooManyConnections
	case l.MaxConnectionsPerAddress > 0 && a.by[t.addr] >= l.MaxConnectionsPerAddress:
		e.counters.refused.Add(1)
		return nil, errTooManyFromAddress
	}
	if a.by == nil {
		a.by = make(map[netip.Addr]int)
	}
	a.total++
	a.by[t.addr]++
	return t, nil
}

// enterGuest counts a connection that its host has counted as outer; it takes
// outer over only without an error. For a host it is outer that counts.
func (e *Endpoint) enterGuest(outer *ticket, peer func() netip.AddrPort) (*ticket, error) {
	if e.host == nil {
		return outer, nil
	}
	t, err := e.enter(peer)
	if t == nil {
		return outer, err
	}
	t.outer = outer
	return t, nil
}

// enterBoth counts what is no connection of the host's yet.
func (e *Endpoint) enterBoth(peer func() netip.AddrPort) (*ticket, error) {
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
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.by[addr]--; a.by[addr] == 0 {
		delete(a.by, addr)
	}
}

// busy refuses handshakes while the endpoint drains or above the rate. Clients
// of Phoenix come back by themselves, each with its own back-off.
func (e *Endpoint) busy() refusal {
	if e.isDraining() {
		return unavailable("2")
	}
	if e.host != nil {
		if ref := e.host.busy(); ref.status != 0 {
			return ref
		}
	}
	if e.limits.HandshakesPerSecond <= 0 {
		return refusal{}
	}
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.rate = e.limits.HandshakesPerSecond
	if !a.handshakes.take(time.Now()) {
		e.counters.refused.Add(1)
		return unavailable("1")
	}
	return refusal{}
}

func refusalFor(err error) refusal {
	var wrong *websocket.HandshakeError
	if errors.As(err, &wrong) {
		return refusal{status: wrong.Status, header: wrong.Header(), body: wrong.Reason}
	}
	return refusal{status: http.StatusBadRequest}
}
