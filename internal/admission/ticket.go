package admission

import (
	"errors"
	"net/netip"

	"github.com/mycelium-rt/mycelium/internal/share"
)

// Ticket is one counted connection or long-poll session, to be given back by
// [Ticket.Leave]. It does not change. Connections that count for no address share
// one ticket of their gate. A nil Ticket stands for what is not counted.
type Ticket struct {
	gate  *Gate
	addr  netip.Addr // zero if it counts for no address
	outer *Ticket    // the host's ticket of a guest's connection
}

// EnterPeer counts a new connection from peer. One that a trusted proxy has opened
// counts for no address until EnterClient. At MaxConnections it is refused, unless
// makeRoom, which may be nil, closes another one, which has no request.
func (g *Gate) EnterPeer(peer netip.Addr, makeRoom func() bool) (*Ticket, error) {
	return g.enter(peer, makeRoom)
}

// EnterClient counts the connection of t for client, if it counts for no address
// yet: the client is the one that a trusted proxy opened it for. The ticket that
// it returns replaces t. After an error it is t.
func (g *Gate) EnterClient(t *Ticket, client netip.Addr) (*Ticket, error) {
	l := g.limits.Load()
	trusted := g.proxies.Trust(client)
	client = clientKey(client)
	if t == nil || t.addr.IsValid() || trusted || !g.limitsAddress(client, l) {
		return t, nil
	}
	if err := g.enterAddress(client, l); err != nil {
		g.Refusals.Limit.Add(1)
		return t, err
	}
	return &Ticket{gate: g, addr: client}, nil
}

// EnterGuest counts a connection for a guest; the host counts it as outer. Only
// without an error does the ticket that it returns stand for outer too. Unless the
// endpoint is a guest, it returns outer.
func (g *Gate) EnterGuest(outer *Ticket, client netip.Addr) (*Ticket, error) {
	if g.host == nil {
		return outer, nil
	}
	t, err := g.enter(client, nil)
	return t.Within(outer), err
}

// EnterSession counts what has no connection of its own, a long-poll session.
func (g *Gate) EnterSession(client netip.Addr) (*Ticket, error) {
	host := g
	if g.host != nil {
		host = g.host
	}
	outer, err := host.enter(client, nil)
	if err != nil {
		return nil, err
	}
	t, err := g.EnterGuest(outer, client)
	if err != nil {
		outer.Leave()
		return nil, err
	}
	return t, nil
}

// Within returns a ticket for the same connection that the host has counted as outer.
func (t *Ticket) Within(outer *Ticket) *Ticket {
	if t == nil {
		return outer
	}
	if t.outer == outer {
		return t
	}
	return &Ticket{gate: t.gate, addr: t.addr, outer: outer}
}

// Leave ends the count, at a guest and its host.
func (t *Ticket) Leave() {
	for ; t != nil; t = t.outer {
		t.gate.leave(t.addr)
	}
}

// enter counts a connection of addr in, or refuses it. One of a trusted proxy, which has not said for whom it asks,
// counts for no address. makeRoom is as in EnterPeer.
func (g *Gate) enter(addr netip.Addr, makeRoom func() bool) (*Ticket, error) {
	t, err := g.tryEnter(addr)
	if makeRoom != nil && errors.Is(err, ErrTooManyConnections) && makeRoom() {
		t, err = g.tryEnter(addr)
	}
	if err != nil {
		g.Refusals.Limit.Add(1)
	}
	return t, err
}

// tryEnter is enter, but leaves it to its caller to count a refusal.
func (g *Gate) tryEnter(addr netip.Addr) (*Ticket, error) {
	l := g.limits.Load()
	total := g.total.Add(1)
	if l.MaxConnections > 0 && total > int64(l.MaxConnections) {
		g.total.Add(-1)
		return nil, ErrTooManyConnections
	}
	trusted := g.proxies.Trust(addr)
	addr = clientKey(addr)
	if trusted || !g.limitsAddress(addr, l) {
		return &g.anonymous, nil
	}
	if err := g.enterAddress(addr, l); err != nil {
		g.total.Add(-1)
		return nil, err
	}
	return &Ticket{gate: g, addr: addr}, nil
}

// enterAddress counts a connection, which total counts already, for addr, unless
// addr has as many as it may.
func (g *Gate) enterAddress(addr netip.Addr, l *Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	has := g.byAddress[addr]
	if l.MaxConnectionsPerAddress > 0 && has >= l.MaxConnectionsPerAddress {
		return ErrTooManyFromAddress
	}
	if l.sharesConnections() && g.Network(addr) != 0 {
		others := int(g.total.Load()) - 1 - has
		if !share.Allowed(has, others, l.MaxConnections, l.AddressShare) {
			return ErrShareUsed
		}
	}
	if g.byAddress == nil {
		g.byAddress = make(map[netip.Addr]int)
	}
	g.byAddress[addr]++
	return nil
}

func (g *Gate) leave(addr netip.Addr) {
	g.total.Add(-1)
	if !addr.IsValid() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byAddress[addr]--; g.byAddress[addr] == 0 {
		delete(g.byAddress, addr)
	}
}
