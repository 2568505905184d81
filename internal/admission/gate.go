package admission

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/share"
)

// Why a connection is refused.
var (
	ErrTooManyConnections = errors.New("channels: Limits.MaxConnections is reached")
	ErrTooManyFromAddress = errors.New("channels: Limits.MaxConnectionsPerAddress is reached")
	ErrShareUsed          = errors.New("channels: the address has its share of Limits.MaxConnections")
	ErrTooManyHTTP        = errors.New("channels: requests over HTTP have their share of Limits.MaxConnections")
)

// Limits are those of channels.Limits that a gate applies.
type Limits struct {
	MaxConnections           int // 0: unlimited
	MaxConnectionsPerAddress int // 0: unlimited
	AddressShare             int // percent; not 1 to 99: no shares
	HandshakesPerSecond      int // 0: unlimited
	// HandshakeWait is how long those who come back may wait to be served. Others
	// may wait half as long. 0: unlimited.
	HandshakeWait time.Duration
}

// Gate counts the connections of one endpoint and refuses those above a limit. A
// guest's gate stands behind its host's: each connection of the guest is counted
// by both. All methods are safe from any goroutine.
type Gate struct {
	// Static after NewGate.
	host      *Gate // nil: the endpoint is no guest
	proxies   Proxies
	anonymous Ticket // of all connections that count for no address

	// Refusals has what was refused, by this gate and by its endpoint.
	Refusals Refusals

	limits   atomic.Pointer[Limits]
	draining atomic.Bool
	total    atomic.Int64 // connections and long-poll sessions; counted without a limit too: one may be set later
	http     atomic.Int64 // connections of net/http, except those of polls that wait
	sockets  atomic.Int64 // sockets and long-poll sessions, those of guests included; 0 for a guest

	// Guarded by mu.
	mu         sync.Mutex
	byAddress  map[netip.Addr]int // connections that are limited by address; see clientKey
	handshakes bucket
}

// NewGate returns the gate of an endpoint, or of a guest of host's endpoint. A
// guest trusts the proxies of its host.
func NewGate(l Limits, proxies Proxies, host *Gate) *Gate {
	g := &Gate{host: host, proxies: proxies}
	g.anonymous.gate = g
	if host != nil {
		g.proxies, g.anonymous.outer = host.proxies, &host.anonymous
	}
	g.limits.Store(&l)
	return g
}

// SetLimits replaces the limits. Connections that are above the new ones stay.
func (g *Gate) SetLimits(l Limits) { g.limits.Store(&l) }

// Drain has all handshakes refused from now on.
func (g *Gate) Drain() { g.draining.Store(true) }

// Draining reports whether Drain was called.
func (g *Gate) Draining() bool { return g.draining.Load() }

// Full reports whether MaxConnections is reached.
func (g *Gate) Full() bool {
	most := g.limits.Load().MaxConnections
	return most > 0 && g.total.Load() >= int64(most)
}

// Client returns the address of the client that sent a request; see [Proxies.Client].
func (g *Gate) Client(peer netip.AddrPort, forwardedFor []string) netip.AddrPort {
	return g.proxies.Client(peer, forwardedFor)
}

// Network returns what tells the client at addr apart from others, 0 if nothing
// does. Private addresses may belong to proxies, whose clients cannot be told
// apart, unless it is configured which addresses the proxies have.
func (g *Gate) Network(addr netip.Addr) share.Network {
	switch {
	case len(g.proxies) == 0:
		return share.NetworkOf(addr)
	case g.proxies.Trust(addr):
		return 0
	}
	return share.AnyNetworkOf(addr)
}

// Caller is what is known of a client before its handshake.
type Caller struct {
	Delay time.Duration // how long those have waited who are served at the moment
	Query string        // of its request, as it came
}

// SessionParam is the parameter with which a client names its session (docs/history.md).
const SessionParam = "session"

// returns reports whether the client says that it was here before. It may say so for the
// first time, and gains nothing but its turn. Nothing else in a handshake of phoenix.js
// tells a client that comes back from a new one.
func (c *Caller) returns() bool {
	for part := range strings.SplitSeq(c.Query, "&") {
		if strings.HasPrefix(part, SessionParam+"=") {
			return true
		}
	}
	return false
}

// Busy refuses a handshake while the endpoint or its host drains, while clients
// wait too long to be served, and above the rate of handshakes. Clients of Phoenix
// try again with a back-off of their own.
func (g *Gate) Busy(now time.Time, c Caller) *Refusal {
	if g.Draining() {
		return Unavailable(drainPause)
	}
	if g.host != nil {
		if ref := g.host.Busy(now, c); ref != nil {
			return ref
		}
	}
	l := g.limits.Load()
	if c.Delay > 0 && l.waitsTooLong(&c) {
		g.Refusals.Limit.Add(1)
		return Unavailable(c.Delay)
	}
	if l.HandshakesPerSecond <= 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.handshakes.take(now, l.HandshakesPerSecond) {
		g.Refusals.Limit.Add(1)
		return Unavailable(time.Second)
	}
	return nil
}

// AdmitTLS reports whether a TLS handshake that has to wait for delay may begin. Nothing
// is known of its client.
func (g *Gate) AdmitTLS(delay time.Duration) bool {
	most := g.limits.Load().HandshakeWait
	if most <= 0 || delay <= most {
		return true
	}
	g.Refusals.Limit.Add(1)
	return false
}

// drainPause is for how long a client had better not come back to an endpoint that
// drains.
const drainPause = 2 * time.Second

// waitsTooLong reports whether a client is told to come back later.
func (l *Limits) waitsTooLong(c *Caller) bool {
	most := l.HandshakeWait
	return most > 0 && (c.Delay > most || c.Delay > most/2 && !c.returns())
}

// AddSockets counts n more sockets, or fewer if n is negative. Connections of
// net/http get a share of what sockets leave of MaxConnections.
func (g *Gate) AddSockets(n int64) {
	if g.host != nil {
		g = g.host
	}
	g.sockets.Add(n)
}

// httpShare is how much connections of net/http may have of what sockets leave of
// MaxConnections, in percent: requests that are held open must not keep sockets
// from connecting.
const httpShare = 50

// EnterHTTP counts a connection that is handed to net/http. Above the share it is
// refused, unless makeRoom closes another one, which has no request.
func (g *Gate) EnterHTTP(makeRoom func() bool) bool {
	n, most := g.http.Add(1), g.limits.Load().MaxConnections
	if most <= 0 || share.Allowed(int(n)-1, int(g.sockets.Load()), most, httpShare) || makeRoom() {
		return true
	}
	g.http.Add(-1)
	g.Refusals.Limit.Add(1)
	return false
}

// LeaveHTTP ends the count of EnterHTTP.
func (g *Gate) LeaveHTTP() { g.http.Add(-1) }

// ReturnHTTP counts a connection again that LeaveHTTP counted out, whatever the limit.
func (g *Gate) ReturnHTTP() { g.http.Add(1) }

// limitsAddress reports whether addr may have only so many connections.
func (g *Gate) limitsAddress(addr netip.Addr, l *Limits) bool {
	return addr.IsValid() && (l.MaxConnectionsPerAddress > 0 || l.sharesConnections() && g.Network(addr) != 0)
}

func (l *Limits) sharesConnections() bool {
	return l.MaxConnections > 0 && l.AddressShare > 0 && l.AddressShare < 100
}

// clientKey is the part of an address that tells clients apart: of IPv6 the /64,
// since one client has all addresses in it. It is zero for the peer of a Unix socket.
func clientKey(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}
