package admission

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// enterMany counts connections of addr until one is refused, or there are most.
func enterMany(g *Gate, addr string, most int) (tickets []*Ticket, err error) {
	for len(tickets) < most {
		ticket, err := g.EnterPeer(netip.MustParseAddr(addr), nil)
		if err != nil {
			return tickets, err
		}
		tickets = append(tickets, ticket)
	}
	return tickets, nil
}

// An address has a share of Limits.MaxConnections, whatever the others do, and one
// that has nothing gets a connection as long as anybody does. Private addresses may
// be proxies' and have no share, unless the proxies are known.
func TestAddressShare(t *testing.T) {
	g := NewGate(Limits{MaxConnections: 100, AddressShare: 25}, nil, nil)
	first, err := enterMany(g, "192.0.2.1", 100)
	if len(first) != 25 || !errors.Is(err, ErrShareUsed) {
		t.Errorf("one address has %d of 100: %v", len(first), err)
	}
	for i := range 20 { // one subscriber, whatever the other half of its address is
		if tickets, err := enterMany(g, fmt.Sprintf("2001:db8::%d", i), 2); i > 9 && len(tickets) > 0 {
			t.Fatalf("address %d of a /64 gets in: %v", i, err)
		}
	}
	if got, err := enterMany(g, "192.0.2.2", 1); len(got) != 1 {
		t.Errorf("a newcomer: %v", err)
	}
	if rest, err := enterMany(g, "10.0.0.1", 100); len(rest) < 50 || !errors.Is(err, ErrTooManyConnections) || !g.Full() {
		t.Errorf("a proxy has %d: %v", len(rest), err)
	}
	for _, ticket := range first {
		ticket.Leave()
	}
	if n := len(g.byAddress); n != 2 || g.Full() {
		t.Errorf("%d addresses are kept, want 2", n)
	}
}

func TestAddressShareWithKnownProxies(t *testing.T) {
	for addr, want := range map[string]int{"10.0.0.1": 25, "127.0.0.1": 25, "::1": 25, "fd00::1": 25, "10.1.0.1": 100} {
		g := NewGate(Limits{MaxConnections: 100, AddressShare: 25}, Proxies{netip.MustParsePrefix("10.1.0.0/16")}, nil)
		if got, _ := enterMany(g, addr, 100); len(got) != want {
			t.Errorf("%s has %d of 100, want %d", addr, len(got), want)
		}
	}
	for _, share := range []int{0, 100, -1} {
		g := NewGate(Limits{MaxConnections: 100, AddressShare: share}, nil, nil)
		if got, _ := enterMany(g, "192.0.2.1", 200); len(got) != 100 {
			t.Errorf("with a share of %d an address has %d of 100", share, len(got))
		}
	}
	if got, _ := enterMany(NewGate(Limits{}, nil, nil), "192.0.2.1", 200); len(got) != 200 {
		t.Errorf("without a limit an address has %d", len(got))
	}
}

// A connection that a trusted proxy opens counts for the client that it names.
func TestEnterClient(t *testing.T) {
	proxy, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	g := NewGate(Limits{MaxConnectionsPerAddress: 1}, Proxies{netip.PrefixFrom(proxy, 32)}, nil)
	var tickets []*Ticket
	for range 3 {
		ticket, err := g.EnterPeer(proxy, nil)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	first, err := g.EnterClient(tickets[0], client)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := g.EnterClient(tickets[1], client); !errors.Is(err, ErrTooManyFromAddress) || second != tickets[1] {
		t.Errorf("a second connection for the client: %v", err)
	}
	if again, err := g.EnterClient(first, client); err != nil || again != first {
		t.Errorf("the same connection once more: %v", err)
	}
	first.Leave()
	if _, err := g.EnterClient(tickets[1], client); err != nil {
		t.Errorf("the client has no connection left, and is refused: %v", err)
	}
	if n := g.Refusals.Limit.Load(); n != 1 {
		t.Errorf("%d refusals, want 1", n)
	}
}

// A guest's connections and sessions are counted by its host too, and one that the
// guest refuses by neither.
func TestGuestGate(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	host := NewGate(Limits{MaxConnectionsPerAddress: 10}, nil, nil)
	guest := NewGate(Limits{MaxConnections: 2, MaxConnectionsPerAddress: 2}, nil, host)
	outer, err := host.EnterPeer(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := guest.EnterGuest(outer, addr)
	if err != nil {
		t.Fatal(err)
	}
	session, err := guest.EnterSession(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guest.EnterSession(addr); err == nil || host.total.Load() != 2 {
		t.Errorf("a third one: %v, and the host counts %d", err, host.total.Load())
	}
	foreign, err := guest.EnterGuest(nil, addr) // of a connection that the host does not count
	if err == nil {
		t.Error("a full guest takes another")
	}
	foreign.Leave()
	connection.Leave()
	session.Leave()
	if n, m := host.total.Load(), guest.total.Load(); n != 0 || m != 0 || len(host.byAddress)+len(guest.byAddress) != 0 {
		t.Errorf("%d and %d connections are left", n, m)
	}
}

func TestBusy(t *testing.T) {
	now := time.Unix(1, 0)
	host := NewGate(Limits{HandshakesPerSecond: 2}, nil, nil)
	guest := NewGate(Limits{HandshakesPerSecond: 1}, nil, host)
	for i, want := range []int{0, 1} {
		if got := retryAfter(t, guest.Busy(now, Caller{})); !between(got, want) {
			t.Errorf("handshake %d of the guest: %d, want at least %d", i, got, want)
		}
	}
	if got := retryAfter(t, host.Busy(now, Caller{})); !between(got, 1) {
		t.Errorf("the guest's handshakes do not count for its host: %d", got)
	}
	now = now.Add(time.Second)
	host.Drain()
	for _, g := range []*Gate{host, guest} {
		if got := retryAfter(t, g.Busy(now, Caller{})); !between(got, 2) {
			t.Errorf("while the host drains: %d", got)
		}
	}
}

// retryAfter returns when a refused client is asked to come back, in seconds, and 0 if it
// was not refused.
func retryAfter(t *testing.T, ref *Refusal) int {
	t.Helper()
	if ref == nil {
		return 0
	}
	seconds, err := strconv.Atoi(ref.Header.Get("Retry-After"))
	if err != nil || ref.Status != http.StatusServiceUnavailable {
		t.Errorf("%d %q", ref.Status, ref.Header)
	}
	return seconds
}

// between reports whether a Retry-After is one of Unavailable for so many seconds.
func between(got, least int) bool { return got >= least && got <= 3*least }

// When clients wait too long, those who say that they were here before are still let in
// for a while.
func TestBusyDelay(t *testing.T) {
	const returning = "vsn=2.0.0&session=0123456789abcdef"
	g := NewGate(Limits{HandshakeWait: 4 * time.Second}, nil, nil)
	guest := NewGate(Limits{}, nil, g)
	for _, c := range []struct {
		delay time.Duration
		query string
		want  int // seconds; 0: let in
	}{
		{0, "", 0},
		{2 * time.Second, "vsn=2.0.0", 0},
		{2100 * time.Millisecond, "vsn=2.0.0", 3},
		{2100 * time.Millisecond, "vsn=2.0.0&asession=1", 3},
		{2100 * time.Millisecond, returning, 0},
		{4 * time.Second, returning, 0},
		{4100 * time.Millisecond, returning, 5},
	} {
		for _, gate := range []*Gate{g, guest} {
			if got := retryAfter(t, gate.Busy(time.Unix(1, 0), Caller{Delay: c.delay, Query: c.query})); !between(got, c.want) {
				t.Errorf("after %s, %q: %d, want %d or up to three times as much", c.delay, c.query, got, c.want)
			}
		}
	}
	if !g.AdmitTLS(4*time.Second) || g.AdmitTLS(5*time.Second) {
		t.Error("TLS handshakes")
	}
	if n := g.Refusals.Limit.Load(); n != 7 {
		t.Errorf("%d refusals, want 7", n)
	}
	g.SetLimits(Limits{})
	if g.Busy(time.Unix(1, 0), Caller{Delay: time.Hour}) != nil || !g.AdmitTLS(time.Hour) {
		t.Error("refused without a limit")
	}
}

// Those who are refused together are not asked to come back together.
func TestUnavailable(t *testing.T) {
	told := map[int]int{}
	for range 1000 {
		told[retryAfter(t, Unavailable(1500*time.Millisecond))]++
	}
	for seconds := 2; seconds <= 6; seconds++ {
		if told[seconds] < 100 {
			t.Errorf("%v: %d s is too rare", told, seconds)
		}
	}
	if len(told) != 5 {
		t.Errorf("%v", told)
	}
}

// Connections of net/http have half of what sockets leave.
func TestHTTPShare(t *testing.T) {
	g := NewGate(Limits{MaxConnections: 20}, nil, nil)
	noRoom := func() bool { return false }
	g.AddSockets(10)
	n := 0
	for g.EnterHTTP(noRoom) {
		n++
	}
	if n != 5 {
		t.Errorf("%d connections beside 10 sockets of 20, want 5", n)
	}
	if !g.EnterHTTP(func() bool { return true }) {
		t.Error("refused, although another one has made room")
	}
	for range 2 { // the one above, and one more
		g.LeaveHTTP()
	}
	if !g.EnterHTTP(noRoom) {
		t.Error("a connection has left, and no other gets in")
	}
	NewGate(Limits{}, nil, g).AddSockets(10) // a guest's
	if g.LeaveHTTP(); g.EnterHTTP(noRoom) {
		t.Error("the guest's sockets leave nothing, and a connection gets in")
	}
}

// The address of a trusted proxy that does not say for whom it asks is no client's: neither its connections nor its
// sessions, nor those for a guest, count for it.
func TestProxyHasNoLimit(t *testing.T) {
	proxy := netip.MustParseAddr("10.0.0.1")
	host := NewGate(Limits{MaxConnectionsPerAddress: 1}, Proxies{netip.PrefixFrom(proxy, 32)}, nil)
	guest := NewGate(Limits{MaxConnectionsPerAddress: 1}, nil, host)
	for name, enter := range map[string]func() (*Ticket, error){
		"connection":            func() (*Ticket, error) { return host.EnterPeer(proxy, nil) },
		"session":               func() (*Ticket, error) { return host.EnterSession(proxy) },
		"connection of a guest": func() (*Ticket, error) { return guest.EnterGuest(nil, proxy) },
		"session of a guest":    func() (*Ticket, error) { return guest.EnterSession(proxy) },
	} {
		for range 3 {
			if _, err := enter(); err != nil {
				t.Errorf("a %s: %v", name, err)
			}
		}
	}
}
