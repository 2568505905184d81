package share

import (
	"fmt"
	"net/netip"
	"testing"
)

// take takes as much as one socket gets.
func take(p *Pool, client string, socket any, most int) (n int) {
	for n < most {
		if _, refused := p.Take(client, socket); refused != Taken {
			return n
		}
		n++
	}
	return n
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		name            string
		client          func(i int) string
		clients         int // that take all they get, a hundred at a time
		newcomer        string
		least, newcomes int
	}{
		{"one socket", func(int) string { return "ada" }, 1, "bob", 60, 55},
		{"ten sockets of nobody that is known", func(int) string { return "" }, 10, "", 700, 20},
		{"ten sockets of one client", func(int) string { return "ada" }, 10, "bob", 200, 40},
		{"the same office", func(int) string { return "office" }, 10, "office", 200, 3},
		{"ten clients", func(i int) string { return fmt.Sprint(i) }, 10, "bob", 300, 20},
	} {
		p := New(1000, 0)
		taken := 0
		for i := range c.clients {
			taken += take(p, c.client(i), i, 100)
		}
		if taken < c.least {
			t.Errorf("%s: %d are taken, want at least %d", c.name, taken, c.least)
		}
		if n := take(p, c.newcomer, "newcomer", 100); n < c.newcomes {
			t.Errorf("%s: a newcomer gets %d, want at least %d of the %d that are free", c.name, n, c.newcomes, 1000-taken)
		}
	}
}

// TestSmall: a pool too small to be divided gives everybody one.
func TestSmall(t *testing.T) {
	p := New(2, 0)
	first, _ := p.Take("ada", 1)
	if _, refused := p.Take("ada", 1); refused != ShareUsed {
		t.Errorf("ada takes all: %v", refused)
	}
	if _, refused := p.Take("bob", 2); refused != Taken {
		t.Errorf("bob: %v", refused)
	}
	if _, refused := p.Take("eve", 3); refused != Full {
		t.Errorf("eve: %v", refused)
	}
	p.Give(first)
	if _, refused := p.Take("eve", 3); refused != Taken {
		t.Errorf("eve, after ada: %v", refused)
	}
	if all := New(5, 100); take(all, "ada", 1, 10) != 5 {
		t.Error("without shares everything can be taken")
	}
}

func TestPoolForgets(t *testing.T) {
	p := New(100, 0)
	var slots []*Slot
	for i := range 20 {
		if s, refused := p.Take(fmt.Sprint(i%3), i%5); refused == Taken {
			slots = append(slots, s)
		}
	}
	for _, s := range slots {
		p.Give(s)
	}
	if p.used != 0 || len(p.clients) != 0 {
		t.Errorf("%d used, %d clients left", p.used, len(p.clients))
	}
}

func TestNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"127.0.0.1": "", "::1": "", "10.1.2.3": "", "192.168.0.4": "", "fe80::1%eth0": "", "fd00::1": "", "100.64.1.1": "",
	} {
		if got := NetworkOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is of %q, want %q", addr, got, want)
		}
	}
	if NetworkOf(netip.Addr{}) != 0 {
		t.Error("no address has a network")
	}
}

func TestAnyNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "10.1.2.3": "10.1.2.3", "127.0.0.1": "127.0.0.1", "::1": "127.0.0.1", "fd00::1": "fd00::/64",
	} {
		if got := AnyNetworkOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is of %q, want %q", addr, got, want)
		}
	}
}
