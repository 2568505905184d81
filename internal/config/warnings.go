package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/units"
)

// heartbeat is how often clients send one (assets/js/phoenix/constants.js).
const heartbeat = 30 * time.Second

// warnings returns a sentence for each setting that is valid but probably not intended.
func (c *Config) warnings() (all []string) {
	warn := func(key, format string, args ...any) {
		text := fmt.Sprintf("%s: %s", key, fmt.Sprintf(format, args...))
		if origin := c.origins[key]; origin != "" {
			text = fmt.Sprintf("%s (from %s): %s", key, origin, fmt.Sprintf(format, args...))
		}
		all = append(all, text)
	}
	c.warnOfTopics(warn)
	if c.CheckOrigin.Mode == OriginOff {
		warn("check_origin", "every page may connect with its visitors' cookies; a list of origins lets in those that are meant")
	}
	if c.IdleTimeout <= heartbeat {
		warn("idle_timeout", "clients send a heartbeat only every %s, so this disconnects them; set more than that, for example 60s", heartbeat)
	}
	if c.Log.Level == "off" {
		warn("log.level", "nothing is logged, crashes of channels included; error logs those alone")
	}
	l := c.Limits
	if l.MaxConnections > 0 && l.MaxConnectionsPerAddress > l.MaxConnections {
		warn("limits.max_connections_per_address", "%d is more than limits.max_connections, %d, and bounds nothing", l.MaxConnectionsPerAddress, l.MaxConnections)
	}
	c.warnOfRates(warn)
	if c.Drain.Delay >= time.Second && c.Drain.Timeout < time.Second {
		warn("drain.timeout", "%s leaves no time to close sockets with a Close frame; 30s is the default", c.Drain.Timeout)
	}
	c.warnOfMetrics(warn)
	c.warnOfAuth(warn)
	c.warnOfCluster(warn)
	c.warnOfTLS(warn)
	return all
}

// warnOfRates warns of limits that another limit makes useless.
func (c *Config) warnOfRates(warn warner) {
	l := c.Limits
	for _, r := range []struct {
		all, each   string
		total, most int
	}{
		{"limits.total_joins_per_second", "limits.joins_per_second", l.TotalJoinsPerSecond, l.JoinsPerSecond},
		{"limits.total_messages_per_second", "limits.messages_per_second", l.TotalMessagesPerSecond, l.MessagesPerSecond},
		{"limits.total_bytes_per_second", "limits.bytes_per_second", l.TotalBytesPerSecond, l.BytesPerSecond},
	} {
		if _, chosen := c.origins[r.each]; chosen && r.total > 0 && r.most > r.total {
			warn(r.each, "%d is more than %s, %d, and bounds nothing", r.most, r.all, r.total)
		}
	}
	for _, r := range []struct {
		key string
		of  int
	}{{"limits.bytes_per_second", l.BytesPerSecond}, {"limits.total_bytes_per_second", l.TotalBytesPerSecond}} {
		if r.of > 0 && r.of < l.MaxMessage {
			warn(r.key, "a message of more than %s is never taken, although limits.max_message is %s", units.Bytes(r.of), units.Bytes(l.MaxMessage))
		}
	}
}

type warner func(key, format string, args ...any)

// warnOfTopics warns of patterns that match no topic.
func (c *Config) warnOfTopics(warn warner) {
	for i, p := range c.Topics {
		if j := slices.IndexFunc(c.Topics[:i], func(before string) bool { return covers(before, p) }); j >= 0 {
			warn("topics", "%q is never reached, because %q comes before it", p, c.Topics[j])
		}
	}
	for _, p := range c.Presence.Off {
		if !c.serves(p) {
			warn("presence.off", "no topic is served that %q matches; see topics", p)
		}
	}
	for _, p := range c.Presence.DiffsOff {
		switch i := slices.IndexFunc(c.Presence.Off, func(off string) bool { return covers(off, p) }); {
		case i >= 0:
			warn("presence.diffs_off", "%q has no presence at all, by %q of presence.off", p, c.Presence.Off[i])
		case !c.serves(p):
			warn("presence.diffs_off", "no topic is served that %q matches; see topics", p)
		}
	}
}

// serves reports whether some topic matches both pattern and one of Topics.
func (c *Config) serves(pattern string) bool {
	return slices.ContainsFunc(c.Topics, func(t string) bool { return covers(t, pattern) || covers(pattern, t) })
}

// covers reports whether wide matches every topic that pattern matches.
func covers(wide, pattern string) bool {
	w, errWide := topics.Parse(wide)
	p, err := topics.Parse(pattern)
	return errWide == nil && err == nil && w.Covers(p)
}

// warnOfMetrics warns of a port that nobody may read, and of one that everybody may.
func (c *Config) warnOfMetrics(warn warner) {
	m := c.Metrics
	if strings.HasPrefix(c.origins["metrics.token"], "flag") {
		warn("metrics.token", "every user of the machine sees the flags of a process; the environment variable %s and a file are not seen", "MYCELIUM_METRICS_TOKEN")
	}
	networks := m.Networks()
	if slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() == 0 }) {
		warn("metrics.allow", "everybody may read /metrics")
	}
	near := !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return !n.Addr().IsLoopback() })
	if m.Listen != "" && m.Token == "" && near && !isLoopback(m.Listen) {
		warn("metrics.listen", "%s is open to other machines, and metrics.allow and metrics.token let none of them read: only an API key does", m.Listen)
	}
}

// warnOfAuth warns of secrets that others can see.
func (c *Config) warnOfAuth(warn warner) {
	for _, o := range inSection("auth") {
		origin, set := c.origins[o.key]
		if set && o.secret && strings.HasPrefix(origin, "flag") {
			warn(o.key, "every user of the machine sees the flags of a process; the environment variable %s and a file are not seen", o.env())
		}
	}
	for _, u := range c.Auth.JWKS {
		if strings.HasPrefix(u, "http:") {
			warn("auth.jwks", "whoever is on the way to %s can make tokens; https is safe", hidePassword(u))
		}
	}
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
