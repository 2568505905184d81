package admission

import (
	"net/netip"
	"testing"
)

func TestProxiesClient(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	const proxy = "10.0.0.1:555"
	for _, c := range []struct {
		name, peer string
		fields     []string
		want       string
	}{
		{"no proxy, no field", "192.0.2.1:80", nil, "192.0.2.1:80"},
		{"a stranger's word", "192.0.2.1:80", []string{"198.51.100.7"}, "192.0.2.1:80"},
		{"a proxy that says nothing", proxy, nil, proxy},
		{"one address", proxy, []string{"198.51.100.7"}, "198.51.100.7:0"},
		{"with a port", proxy, []string{"198.51.100.7:1234"}, "198.51.100.7:1234"},
		{"version 6", proxy, []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"version 6 in brackets", proxy, []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"version 6 with a port", proxy, []string{"[2001:db8::1]:99"}, "[2001:db8::1]:99"},
		{"a proxy of version 4 seen through version 6", "[::ffff:10.0.0.1]:5", []string{"198.51.100.7"}, "198.51.100.7:0"},
		{"a chain of trusted proxies", proxy, []string{"198.51.100.7, 10.0.0.9, fd00::2"}, "198.51.100.7:0"},
		{"what the client wrote itself", proxy, []string{"127.0.0.1, 198.51.100.7"}, "198.51.100.7:0"},
		{"a field of its own", proxy, []string{"127.0.0.1", "198.51.100.7,\t10.0.0.9"}, "198.51.100.7:0"},
		{"only trusted addresses", proxy, []string{"10.0.0.8,10.0.0.9"}, "10.0.0.8:0"},
		{"unknown", proxy, []string{"198.51.100.7, unknown"}, proxy},
		{"unknown behind a trusted one", proxy, []string{"unknown, 10.0.0.9"}, "10.0.0.9:0"},
		{"empty", proxy, []string{""}, proxy},
		{"no address", proxy, []string{"198.51.100.7, example.com"}, proxy},
	} {
		got := proxies.Client(netip.MustParseAddrPort(c.peer), c.fields)
		if got != netip.MustParseAddrPort(c.want) {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
	if got := Proxies(nil).Client(netip.MustParseAddrPort(proxy), []string{"198.51.100.7"}); got != netip.MustParseAddrPort(proxy) {
		t.Errorf("without trusted proxies: %v", got)
	}
}
