package channels

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

// TestAddressShare: of Limits.MaxConnections an address has its share, whatever
// the others do, and somebody who has nothing gets in as long as anybody does.
// Private addresses may be proxies' and have all, unless the proxies are known.
func TestAddressShare(t *testing.T) {
	newEndpoint := func(l Limits, proxies ...netip.Prefix) *Endpoint {
		e, err := NewEndpoint(Options{Loops: 1, Limits: l, TrustedProxies: proxies})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Shutdown(context.Background()) })
		return e
	}
	take := func(e *Endpoint, addr string, most int) (tickets []*ticket, err error) {
		for len(tickets) < most {
			ticket, err := e.enter(netip.MustParseAddr(addr))
			if err != nil {
				return tickets, err
			}
			tickets = append(tickets, ticket)
		}
		return tickets, nil
	}
	e := newEndpoint(Limits{MaxConnections: 100})
	first, err := take(e, "192.0.2.1", 100)
	if len(first) != 25 || !errors.Is(err, errShareUsed) {
		t.Errorf("one address has %d of 100: %v", len(first), err)
	}
	for i := range 20 { // one subscriber, whatever the other half of its address is
		if tickets, err := take(e, fmt.Sprintf("2001:db8::%d", i), 2); i > 9 && len(tickets) > 0 {
			t.Fatalf("address %d of a /64 gets in: %v", i, err)
		}
	}
	if got, err := take(e, "192.0.2.2", 1); len(got) != 1 {
		t.Errorf("a newcomer: %v", err)
	}
	if rest, err := take(e, "10.0.0.1", 100); len(rest) < 50 || !errors.Is(err, errTooManyConnections) {
		t.Errorf("a proxy has %d: %v", len(rest), err)
	}
	for _, ticket := range first {
		leave(ticket)
	}
	if n := len(e.admitted.by); n != 2 {
		t.Errorf("%d addresses are kept, want 2", n)
	}
	// Where the proxies are known, every other address is a client's.
	for addr, want := range map[string]int{"10.0.0.1": 25, "127.0.0.1": 25, "::1": 25, "fd00::1": 25, "10.1.0.1": 100} {
		known := newEndpoint(Limits{MaxConnections: 100}, netip.MustParsePrefix("10.1.0.0/16"))
		got := 0
		for ; got < 100; got++ {
			if _, err := known.enterPeer(netip.MustParseAddr(addr)); err != nil {
				break
			}
		}
		if got != want {
			t.Errorf("with known proxies %s has %d of 100, want %d", addr, got, want)
		}
	}
	if got, _ := take(newEndpoint(Limits{MaxConnections: 100, AddressShare: 100}), "192.0.2.1", 200); len(got) != 100 {
		t.Errorf("without shares an address has %d of 100", len(got))
	}
	if got, _ := take(newEndpoint(Limits{}), "192.0.2.1", 200); len(got) != 200 {
		t.Errorf("without a limit an address has %d", len(got))
	}
}
