package doctor

import (
	"errors"
	"fmt"
	"io/fs"
)

// stormShare is the part of all clients that come in the time in which the
// server gets to its listener again, when all of them reconnect at once. A
// longer queue holds them; who finds it full tries again after a second.
const stormShare = 16

// acceptQueue is the queue of a listener.
func acceptQueue(m *machine, n int64) Check {
	const key = "net.core.somaxconn"
	most, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	return bound(key, count(most), most*stormShare, n,
		fmt.Sprintf("the queue of connections waiting to be accepted; it should hold 1/%d of all when they reconnect together", stormShare),
		netSysctl(key, fmt.Sprint(roundUp(n/stormShare+1)))...)
}

// synQueue is the queue before that, of connections that are not complete.
func synQueue(m *machine, n int64) Check {
	const key = "net.ipv4.tcp_max_syn_backlog"
	most, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	cookies, err := m.sys("net.ipv4.tcp_syncookies")
	if err == nil && cookies > 0 {
		return Check{Name: key, Status: OK, Value: count(most), Why: "bounds nothing while net.ipv4.tcp_syncookies is on"}
	}
	return bound(key, count(most), most*stormShare, n,
		"the queue of connections whose handshake is not complete; net.ipv4.tcp_syncookies, which works without a queue, is off",
		netSysctl("net.ipv4.tcp_syncookies", "1")...)
}

// conntrack is the table of a stateful firewall, which NAT and most container
// networks need.
func conntrack(m *machine, n int64) Check {
	const key = "net.netfilter.nf_conntrack_max"
	most, err := m.sys(key)
	if errors.Is(err, fs.ErrNotExist) {
		return Check{Name: key, Status: OK, Value: "not loaded", Why: "the firewall does not track connections here; it may on the host of a container"}
	}
	if err != nil {
		return unknown(key, err)
	}
	used, err := m.sys("net.netfilter.nf_conntrack_count")
	if err != nil {
		return unknown("net.netfilter.nf_conntrack_count", err)
	}
	return bound(key, fmt.Sprintf("%s, %s of them used", count(most), count(used)), max(0, most-used), n,
		"the firewall drops connections that do not fit into its table, and the server does not notice",
		sysctl(key, fmt.Sprint(roundUp(n+n/4+used))))
}

// ports bounds those who connect, not those who are connected to.
func ports(m *machine, n int64) Check {
	const key = "net.ipv4.ip_local_port_range"
	list, err := m.numbers(sysPath(key), 2)
	if err != nil {
		return unknown(key, err)
	}
	each := max(1, list[1]-list[0]+1)
	c := Check{Name: key, Status: OK, Value: fmt.Sprintf("%d to %d", list[0], list[1]),
		Why: fmt.Sprintf("bounds no server: a proxy or load generator on this machine can open %s connections to one address of it from each of its own", count(each))}
	if each < n {
		c.Status = Advice
		c.Why += fmt.Sprintf(", so that it needs %s addresses for %s", count((n+each-1)/each), count(n))
		c.Fix = netSysctl(key, "1024 65535")
	}
	return c
}
