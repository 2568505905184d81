package channels

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/share"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// addresses counts connections, in all and by IP address, against the limits.
type addresses struct {
	// Static after NewEndpoint.
	anonymous ticket // of all connections without a limit by address

	total   atomic.Int64 // always counted: a limit may come later
	settled atomic.Int64 // sockets with a connection, and long-poll sessions; of a host those of its guests too
	http    atomic.Int64 // connections with net/http, but for polls that wait

	// Guarded by mu.
	mu         sync.Mutex
	by         map[netip.Addr]int // those that came under a limit by address; IPv6 by /64
	handshakes bucket
}

// ticket is one counted connection, or all those that need no ticket of their
// own; nil for what is not counted. It does not change.
type ticket struct {
	of    *addresses
	addr  netip.Addr // zero without a limit by address
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
	errShareUsed          = errors.New("channels: the address has its share of Limits.MaxConnections")
	errTooManyHTTP        = errors.New("channels: requests over HTTP have their share of Limits.MaxConnections")
)

// enter counts a connection or a long-poll session in, or refuses it.
func (e *Endpoint) enter(peer netip.Addr) (*ticket, error) {
	l, a := e.live.Load(), &e.admitted
	total := a.total.Add(1)
	if l.MaxConnections > 0 && total > int64(l.MaxConnections) {
		a.total.Add(-1)
		e.counters.refused.Add(1)
		return nil, errTooManyConnections
	}
	addr := clientKey(peer)
	if !e.countsAddress(addr, l) {
		return &a.anonymous, nil
	}
	if err := e.enterFrom(addr, l); err != nil {
		a.total.Add(-1)
		e.counters.refused.Add(1)
		return nil, err
	}
	return &ticket{of: a, addr: addr}, nil
}

// clientKey is what of an address tells clients apart: of IPv6 the /64, of which
// one client has all the others. It is zero for the peer of a Unix socket.
func clientKey(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// countsAddress reports whether connections of an address are limited beside
// those of others.
func (e *Endpoint) countsAddress(addr netip.Addr, l *Limits) bool {
	return addr.IsValid() && (l.MaxConnectionsPerAddress > 0 || l.sharesConnections() && e.networkOf(addr) != 0)
}

// networkOf returns what tells the client at addr apart from others. Private addresses
// may be proxies' whose clients cannot be told apart, unless
// Options.TrustedProxies says which the proxies are.
func (e *Endpoint) networkOf(addr netip.Addr) share.Network {
	switch {
	case len(e.options.TrustedProxies) == 0:
		return share.NetworkOf(addr)
	case e.trusts(addr):
		return 0
	}
	return share.AnyNetworkOf(addr)
}

func (l *Limits) sharesConnections() bool {
	return l.MaxConnections > 0 && l.AddressShare > 0 && l.AddressShare < 100
}

// admission is what counts connections for e: its host's if it has one.
func (e *Endpoint) admission() *addresses {
	if e.host != nil {
		return &e.host.admitted
	}
	return &e.admitted
}

// httpShare is the part of what sockets leave of Limits.MaxConnections that
// connections with net/http may have, in percent: requests that are held open must
// not keep sockets from connecting.
const httpShare = 50

// enterHTTP counts a connection that is handed to net/http, or refuses it. One
// that has no request makes room for it.
func (e *Endpoint) enterHTTP() bool {
	l, a := e.live.Load(), &e.admitted
	n := a.http.Add(1)
	if l.MaxConnections <= 0 || share.Allowed(int(n)-1, int(a.settled.Load()), l.MaxConnections, httpShare) || e.fallback.makeRoom() {
		return true
	}
	a.http.Add(-1)
	e.counters.refused.Add(1)
	return false
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
	a, l := &e.admitted, e.live.Load()
	trusted := e.trusts(client)
	client = clientKey(client)
	if t == nil || t.addr.IsValid() || trusted || !e.countsAddress(client, l) {
		return t, nil
	}
	if err := e.enterFrom(client, l); err != nil {
		e.counters.refused.Add(1)
		return t, err
	}
	return &ticket{of: a, addr: client}, nil
}

// enterFrom counts a connection of addr in, unless it has as many as it may. It is
// in total already.
func (e *Endpoint) enterFrom(addr netip.Addr, l *Limits) error {
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	has := a.by[addr]
	if l.MaxConnectionsPerAddress > 0 && has >= l.MaxConnectionsPerAddress {
		return errTooManyFromAddress
	}
	if l.sharesConnections() && e.networkOf(addr) != 0 {
		others := int(a.total.Load()) - 1 - has
		if !share.Allowed(has, others, l.MaxConnections, l.AddressShare) {
			return errShareUsed
		}
	}
	if a.by == nil {
		a.by = make(map[netip.Addr]int)
	}
	a.by[addr]++
	return nil
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
// headTooLarge refuses a head above Limits.HeaderBytes.
var headTooLarge = textRefusal(http.StatusRequestHeaderFieldsTooLarge, "the request's head is larger than this server takes\n")

// malformed notes that a request is refused for what it is, and returns r.
func (e *Endpoint) malformed(r *refusal, peer netip.AddrPort) *refusal {
	e.counters.handshakes.malformed.Add(1)
	e.log.Debug("malformed request").Int("status", r.status).Str("reason", r.body).Addr("address", peer).Write()
	return r
}

func refusalFor(err error) *refusal {
	var wrong *websocket.HandshakeError
	if errors.As(err, &wrong) {
		return &refusal{status: wrong.Status, header: wrong.Header(), body: wrong.Reason}
	}
	return badRequest
}
