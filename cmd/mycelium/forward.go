package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/membership"
)

// forwarder is the part of this node that forwards clients to other nodes, and takes theirs.
type forwarder struct {
	*forward.Node
	listener net.Listener
	address  string // where the other nodes reach the listener
}

// listenForForwarded opens the port for clients of other nodes. It returns nil if nodes do
// not forward clients. find is forward.Options.Find.
func (d *daemon) listenForForwarded(files clusterFiles, find func(id uint64) (name, address string, ok bool)) (*forwarder, error) {
	if !d.cfg.Cluster.Forwards() {
		return nil, nil
	}
	node, err := forward.New(forward.Options{Name: files.node, Secret: files.secret, Insecure: d.cfg.Cluster.Insecure, Find: find})
	if err != nil {
		return nil, err
	}
	l, err := node.Listen(d.cfg.ForwardAddress())
	if err != nil {
		return nil, fmt.Errorf("listening for clients of other nodes: %w", inUse(err, "cluster.forward_listen"))
	}
	f := &forwarder{Node: node, listener: l}
	if f.address, err = reachable(l.Addr().String(), d.cfg.Cluster); err != nil {
		l.Close() // nobody has connected
		return nil, err
	}
	return f, nil
}

// reachable returns the address at which other nodes reach a listener: if it listens on
// all addresses of this machine, the one from which this node reaches the others.
func reachable(listens string, c config.Cluster) (string, error) {
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return listens, nil
	}
	for _, text := range slices.Concat(c.Routes, c.NATSURL) {
		if ip := addressTowards(text); ip != nil && !ip.IsLoopback() {
			return net.JoinHostPort(ip.String(), port), nil
		}
	}
	if ip := ownAddress(); ip != nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}

// addressTowards returns the address from which this machine reaches another, nil if it is
// not known. Nothing is sent to the other.
func addressTowards(text string) net.IP {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	c, err := net.DialTimeout("udp", u.Host, time.Second) // a lookup of the name may take time
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP
}

// ownAddress returns the first address of this machine that others may reach, nil if
// there is none.
func ownAddress() net.IP {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP
		}
	}
	return nil
}

// serveForwarded begins to take the clients that other nodes forward.
func (d *daemon) serveForwarded() error {
	if d.cluster == nil || d.cluster.forward == nil {
		return nil
	}
	f := d.cluster.forward
	if err := hooks.ServeForwarded(d.endpoint, f.Node, uint64(d.cluster.ID()), f.listener); err != nil {
		return err
	}
	d.log.Info().Str("addr", f.address).Msg("accepting clients that other nodes forward")
	return nil
}

// forwardCall is httpapi.Options.Forward.
func (d *daemon) forwardCall(w http.ResponseWriter, r *http.Request, to *instances.ElsewhereError, caller string) bool {
	if d.cluster == nil || d.cluster.forward == nil || front.Forwarded(r) {
		return false
	}
	claim, answered := front.ClaimOf(r), true
	claim.Caller = caller
	d.cluster.forward.Elsewhere(to.Owner.Node, to.Owner.Address).Relay(w, r, claim, func(err error) {
		d.log.Warn().Err(err).Str("node", to.Owner.Node).Str("instance", to.ID).Msg("call not forwarded")
		answered = false
	})
	return answered
}

// apiPeers is httpapi.Options.Peers.
func (d *daemon) apiPeers() (peers []httpapi.Peer) {
	if d.cluster == nil || d.cluster.forward == nil {
		return nil
	}
	for _, p := range membership.PeersOf(d.cluster.Stats().Peers, time.Now()) {
		name, address, ok := forwardsTo(&p)
		if !ok {
			continue
		}
		peers = append(peers, httpapi.Peer{Name: name, Ask: func(w http.ResponseWriter, r *http.Request, caller string) bool {
			claim, answered := front.ClaimOf(r), true
			claim.Caller = caller
			d.cluster.forward.Elsewhere(name, address).Relay(w, r, claim, func(err error) {
				d.log.Warn().Err(err).Str("node", name).Msg("could not ask a node")
				answered = false
			})
			return answered
		}})
	}
	return peers
}

// close closes the listener, if the endpoint has not, and the connections to other nodes.
func (f *forwarder) close() {
	if f != nil {
		f.listener.Close() // the endpoint may have closed it
		f.Close()
	}
}

// nodeOf returns where the node with a log takes clients of other nodes.
func (n *clusterNode) nodeOf(id uint64) (name, address string, ok bool) {
	log := cluster.LogID(id)
	if p := n.view().Peer(log); p != nil {
		return forwardsTo(p)
	}
	// It may have come since the last view. Only a token that a node has signed leads here.
	for _, p := range membership.PeersOf(n.Stats().Peers, time.Now()) {
		if p.Log == log {
			return forwardsTo(&p)
		}
	}
	return "", "", false
}

func forwardsTo(p *membership.Peer) (name, address string, ok bool) {
	heard := p.State == membership.Up || p.State == membership.Syncing
	return p.Name, p.Facts.Forward, heard && p.Facts.Forward != ""
}

// forwardAddress returns where other nodes reach this one for their clients, "" if they do not.
func (n *clusterNode) forwardAddress() string {
	if n == nil || n.forward == nil {
		return ""
	}
	return n.forward.address
}

// elsewhere returns the function for instances.Options.Elsewhere, nil if clients are not forwarded.
func (n *clusterNode) elsewhere() func(id string, owner instances.Owner) error {
	if n == nil || n.forward == nil {
		return nil
	}
	return func(_ string, owner instances.Owner) error { return n.forward.Elsewhere(owner.Node, owner.Address) }
}
