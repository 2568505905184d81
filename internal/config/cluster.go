package config

import (
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
)

var (
	clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	nodeName    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
)

func checkClusterName(name string) string {
	if name != "" && !clusterName.MatchString(name) {
		return "is not a valid cluster name"
	}
	return ""
}

func checkNodeName(name string) string {
	if name != "" && !IsNodeName(name) {
		return "is not a valid node name"
	}
	return ""
}

// IsNodeName reports whether a node may have this name, as the name of its machine.
func IsNodeName(name string) bool { return nodeName.MatchString(name) }

func checkRoute(text string) string { return checkServer(text, "nats") }

func checkNATS(text string) string { return checkServer(text, "nats", "tls", "ws", "wss") }

func checkServer(text string, schemes ...string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme):
		return "is not a NATS address"
	case u.Port() == "" || !isPort(u.Port()):
		return "does not have a port from 1 to 65535"
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return "has more than a host and a port"
	}
	return ""
}

// checkCluster reports cluster options that do not fit together.
func (l *loader) checkCluster(c *Config) {
	k := c.Cluster
	for _, o := range inSection("cluster") {
		if l.bad[o.key] {
			return // further problems may be consequences of this one
		}
	}
	switch {
	case !k.Enabled():
		l.withoutEffect(c, func(key string) bool { return key != "cluster.name" },
			"cluster.name is not", "set the same name on all nodes, for example --cluster-name=prod")
		return
	case k.Embedded() && len(k.NATSURL) > 0:
		l.problem("cluster.listen (from %s) and cluster.nats_url (from %s) are both set; set one of them: "+
			"cluster.listen connects the nodes directly, cluster.nats_url through your NATS servers",
			l.origins["cluster.listen"], l.origins["cluster.nats_url"])
		return
	case k.Embedded():
		l.withoutEffect(c, func(key string) bool {
			return slices.Contains([]string{"cluster.nats_creds", "cluster.nats_ca", "cluster.nats_cert", "cluster.nats_key", "cluster.nats_events"}, key)
		}, "cluster.nats_url is not", "nodes that connect by cluster.listen authenticate with cluster.secret_file")
		l.checkEmbedded(c)
	case len(k.NATSURL) > 0:
		l.withoutEffect(c, func(key string) bool {
			return slices.Contains([]string{"cluster.routes", "cluster.insecure"}, key)
		}, "cluster.listen is not", "with cluster.nats_url, set cluster.nats_creds or the TLS files cluster.nats_ca, cluster.nats_cert and cluster.nats_key")
		if (k.NATSCert == "") != (k.NATSKey == "") {
			l.problem("one of cluster.nats_cert and cluster.nats_key is set and the other is not; TLS needs both")
		}
	default:
		l.problem("cluster.name is set (from %s) and neither cluster.listen nor cluster.nats_url is; nodes reach each other by one of them, "+
			"for example --cluster-listen=:6222", l.origins["cluster.name"])
		return
	}
	l.checkForwarding(c)
	l.checkShared(c)
}

// checkShared reports what instances that nodes have in common need.
func (l *loader) checkShared(c *Config) {
	k := c.Cluster
	if !k.SharesInstances() {
		return
	}
	missing := func(key, advice string) {
		l.problem("cluster.instances is shared (from %s) and %s is not set; %s", l.origins["cluster.instances"], key, advice)
	}
	if k.SecretFile == "" && !k.Embedded() {
		missing("cluster.secret_file", "nodes prove with it what they ask of each other, for example --cluster-secret-file=/etc/mycelium/cluster.secret")
	}
	if !k.Embedded() {
		return
	}
	if c.Data == "" && !l.bad["data"] {
		missing("data", "each node keeps its part there, for example --data=/var/lib/mycelium")
	}
	if len(k.Routes) == 0 {
		missing("cluster.routes", "all nodes take the same list, for example --cluster-routes=nats://node-1:6222,nats://node-2:6222,nats://node-3:6222")
	}
	if k.Size < 2 {
		l.problem("cluster.instances is shared (from %s) and cluster.size is %d; a majority of the nodes decides, so that each must know how many there are, "+
			"for example --cluster-size=3", l.origins["cluster.instances"], k.Size)
	}
}

func (l *loader) checkEmbedded(c *Config) {
	k := c.Cluster
	if k.SecretFile == "" {
		l.problem("cluster.listen is set (from %s) and cluster.secret_file is not; whoever reaches the port must prove that it is a node, "+
			"for example --cluster-secret-file=/etc/mycelium/cluster.secret", l.origins["cluster.listen"])
	}
	l.checkPorts(c, "cluster.listen", k.Listen)
}

// checkForwarding reports what the port for clients of other nodes needs.
func (l *loader) checkForwarding(c *Config) {
	k := c.Cluster
	if k.SecretFile == "" {
		l.withoutEffect(c, func(key string) bool { return key == "cluster.forward_listen" },
			"cluster.secret_file is not", "nodes prove themselves with it before they pass on clients")
	}
	l.checkPorts(c, "cluster.forward_listen", k.ForwardListen)
	if k.ForwardListen != "" && samePort(k.ForwardListen, k.Listen) {
		l.problem("%s is %s, and cluster.listen is %s; each takes a port of its own", c.Name("cluster.forward_listen"), k.ForwardListen, k.Listen)
	}
}

// checkPorts reports an option whose address is that of another port of the server.
func (l *loader) checkPorts(c *Config, key, address string) {
	for _, other := range []struct{ key, address string }{{"listen", c.Listen}, {"tcp_listen", c.TCPListen}, {"metrics.listen", c.Metrics.Listen}} {
		if other.key != key && !l.bad[other.key] && samePort(address, other.address) {
			l.problem("%s is %s, and %s is %s; each takes a port of its own", c.Name(key), address, other.key, other.address)
		}
	}
}

// samePort reports whether two addresses cannot both be listened on.
func samePort(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// withoutEffect reports cluster options that are set and have no effect.
func (l *loader) withoutEffect(c *Config, useless func(key string) bool, missing, advice string) {
	l.withoutEffectIn("cluster", c, useless, missing, advice)
}

// withoutEffectIn is withoutEffect for any section.
func (l *loader) withoutEffectIn(section string, c *Config, useless func(key string) bool, missing, advice string) {
	for _, o := range inSection(section) {
		byDefault, _ := o.kind.parse(o.words(o.def))
		origin, set := l.origins[o.key]
		if useless(o.key) && set && !reflect.DeepEqual(c.field(o).Interface(), byDefault) {
			l.problem("%s is set (from %s) and %s, so it has no effect; %s", o.key, origin, missing, advice)
		}
	}
}

// warnOfCluster warns of traffic that crosses the network unencrypted, and of an address
// that other machines cannot reach.
func (c *Config) warnOfCluster(warn warner) {
	k := c.Cluster
	if k.Insecure && (!isLoopback(k.Listen) || slices.ContainsFunc(k.Routes, isRemote)) {
		warn("cluster.insecure", "what clients send each other crosses the network unencrypted; cluster.secret_file alone encrypts it")
	}
	if k.SharesInstances() && k.Embedded() && k.Size == 2 {
		warn("cluster.size", "of 2 nodes one alone is no majority: while the other is away, shared instances stop; of 3 nodes one may be away")
	}
	if k.Embedded() && isLoopback(k.Listen) && slices.ContainsFunc(k.Routes, isRemote) {
		warn("cluster.listen", "only this machine reaches %s, and cluster.routes has nodes of others; :PORT listens on all addresses", k.Listen)
	}
	for _, u := range k.NATSURL {
		if parsed, err := url.Parse(u); err == nil && (parsed.Scheme == "nats" || parsed.Scheme == "ws") && isRemote(u) && k.NATSCA == "" {
			warn("cluster.nats_url", "%s is not encrypted unless the server asks for it; tls:// always is", hidePassword(u))
		}
	}
}

// isRemote reports whether a URL is of another machine.
func isRemote(text string) bool {
	u, err := url.Parse(text)
	return err == nil && !isLoopback(u.Host)
}
