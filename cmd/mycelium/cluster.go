package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/histories"
	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/cluster/presences"
	"github.com/mycelium-rt/mycelium/cluster/revocations"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// clusterFiles are the files named by the options of a cluster, read and checked.
type clusterFiles struct {
	node   string // this node's name
	secret []byte
	tls    *tls.Config // for external servers; nil: as their addresses say
}

// clusterNode is this process in its cluster.
type clusterNode struct {
	*cluster.Node
	name      string     // of this node
	forward   *forwarder // nil: clients are not forwarded
	presences *presences.Kind
	histories *histories.Kind
	watcher   *membership.Watcher
	store     *sharedStore           // nil: each node has instances of its own
	events    *natscluster.Publisher // nil: events are not published
	// conflict receives why this node cannot stay: another node has its name or its number.
	conflict chan error
}

// hearDrains is how long a draining node waits to hear from others that began at the same time. A message between
// nodes takes a small fraction of it.
const hearDrains = 250 * time.Millisecond

var errSameNumber = errors.New("another node has chosen the same random number for its presences, one of 65,536; start this node again, and it chooses another")

// stopServer stops the server; the first reason counts.
func (n *clusterNode) stopServer(err error) {
	select {
	case n.conflict <- err:
	default:
	}
}

// join makes this process a node of the configuration's cluster, if it has one.
func (d *daemon) join(files clusterFiles) (err error) {
	c := d.cfg.Cluster
	if !c.Enabled() {
		return nil
	}
	n := &clusterNode{name: files.node, conflict: make(chan error, 1), presences: presences.New(), histories: histories.New(d.history)}
	if n.forward, err = d.listenForForwarded(files, n.nodeOf); err != nil {
		return err
	}
	transport, err := d.openTransport(files)
	if err != nil {
		n.forward.close()
		return err
	}
	watcher, err := d.startNode(n, transport)
	if err != nil {
		transport.Close() // the first error is the one to report
		n.forward.close()
		return err
	}
	if c.SharesInstances() {
		n.store = openShared(transport, c.Name, logging.NewLog(&d.log))
	}
	n.watcher = membership.Watch(n.Node, d.membershipOptions(n, transport))
	watcher.Store(n.watcher)
	d.cluster = n
	event := d.log.Info().Str("cluster", c.Name).Str("node", n.name)
	if addr := transport.RouteAddr(); addr != nil {
		event = event.Stringer("addr", addr)
	}
	event.Msg("joining")
	return nil
}

// startNode starts the node and what it replicates. The caller stores the node's watcher
// in watcher.
func (d *daemon) startNode(n *clusterNode, transport *natscluster.Transport) (watcher *atomic.Pointer[membership.Watcher], err error) {
	if len(d.cfg.Cluster.NATSEvents) > 0 {
		if n.events, err = transport.OpenPublisher(); err != nil {
			return nil, err
		}
	}
	kinds := n.presences.Types()
	maps.Copy(kinds, n.histories.Types())
	revoked := revocations.New(d.revocations)
	maps.Copy(kinds, revoked.Types())
	watcher = new(atomic.Pointer[membership.Watcher])
	n.Node, err = cluster.Start(transport, cluster.SystemClock(), cluster.Options{
		Name: n.name, Address: d.address(), OnConflict: n.stopServer, Info: d.facts(watcher, n.forwardAddress()), ID: n.histories.Log(), Kinds: kinds,
	})
	if err != nil {
		return nil, err
	}
	d.openDurable(transport)
	n.presences.Start(n.Node)
	n.histories.Start(n.Node)
	revoked.Start(n.Node)
	return watcher, nil
}

// membershipOptions returns what the node's watcher samples.
func (d *daemon) membershipOptions(n *clusterNode, transport *natscluster.Transport) membership.Options {
	c := d.cfg.Cluster
	o := membership.Options{
		Name: n.name, Cluster: c.Name, Size: c.Size, Logger: &d.log,
		Link: func() membership.Link { return membership.Link(transport.Stats()) },
		Joined: func() {
			if !presences.Distinct(n.Node) {
				n.stopServer(errSameNumber)
			}
		},
	}
	if n.store != nil {
		o.Store = n.store.look
	}
	if n.forward != nil {
		o.Forwards = func() membership.Forwards { return membership.Forwards(n.forward.Stats()) }
	}
	return o
}

func (d *daemon) openTransport(files clusterFiles) (*natscluster.Transport, error) {
	c := d.cfg.Cluster
	log := logging.NewLog(&d.log)
	if c.Embedded() {
		return natscluster.Embed(natscluster.EmbedOptions{
			Cluster: c.Name, Name: files.node, Listen: c.Listen, Routes: c.Routes, Secret: files.secret, Insecure: c.Insecure,
			Log: func(line string) { log.Warn("built-in NATS server").Str("line", line).Write() }, StoreDir: storeDir(d.cfg), Size: c.Size,
		})
	}
	return natscluster.Connect(c.Name, strings.Join(c.NATSURL, ","), natsOptions(c, files)...)
}

// natsOptions returns the options for external servers.
func natsOptions(c config.Cluster, files clusterFiles) (options []natscluster.Option) {
	if c.NATSCreds != "" {
		options = append(options, natscluster.Credentials(c.NATSCreds))
	}
	if files.tls != nil {
		options = append(options, natscluster.TLS(files.tls))
	}
	return options
}

// storeDir returns the directory of an embedded server, "" if it keeps nothing.
func storeDir(cfg *config.Config) string {
	if !cfg.Cluster.SharesInstances() {
		return ""
	}
	return cfg.Data
}

// sharedStore returns the store that the nodes share, nil if this node does not share its instances. It may not be
// open yet; leave closes it.
func (n *clusterNode) sharedStore() instances.SharedStore {
	if n == nil || n.store == nil {
		return nil
	}
	return n.store
}

// nodeName returns the name of this node, "" without a cluster.
func (n *clusterNode) nodeName() string {
	if n == nil {
		return ""
	}
	return n.name
}

// sharingNode returns the name of this node if it shares its instances with others, "" otherwise.
func (n *clusterNode) sharingNode() string {
	if n.sharedStore() == nil {
		return ""
	}
	return n.name
}

// address returns where clients reach this node, for people.
func (d *daemon) address() string {
	host, port, err := net.SplitHostPort(d.cfg.Listen)
	if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		host, err = os.Hostname()
	}
	if err != nil {
		return cmp.Or(d.cfg.API.PublicURL, d.cfg.Listen)
	}
	return cmp.Or(d.cfg.API.PublicURL, net.JoinHostPort(host, port))
}

// facts returns a function for the information in each heartbeat.
func (d *daemon) facts(watcher *atomic.Pointer[membership.Watcher], forward string) func() []byte {
	version := version()
	return func() []byte { // called under a lock of the node, whose methods it must not call
		f := membership.Facts{
			Version: version, Sockets: d.endpoint.Stats().Sockets, Draining: d.stopping.Load(), Time: time.Now().UnixMilli(), Forward: forward,
		}
		if w := watcher.Load(); w != nil {
			f.Resent = w.View().Stats.Resent
		}
		return f.Encode()
	}
}

// startDrain tells the other nodes that this one is draining, so that all draining nodes share one pace. It returns
// how long to wait to hear the same from nodes that began at the same time.
func (n *clusterNode) startDrain() time.Duration {
	if n == nil || len(n.Stats().Peers) == 0 {
		return 0
	}
	n.Announce()
	return hearDrains
}

// draining returns how many nodes are draining, this one included.
func (n *clusterNode) draining() int {
	if n == nil {
		return 1
	}
	return 1 + membership.Draining(n.Stats().Peers)
}

// leave says goodbye to the other nodes. Everything that publishes must have ended.
func (n *clusterNode) leave() error {
	if n == nil {
		return nil
	}
	n.forward.close()
	n.watcher.Close()
	var err error
	if n.store != nil {
		err = n.store.Close()
	}
	if n.events != nil {
		n.events.Close()
	}
	return errors.Join(err, n.Close())
}

// leftCluster returns a channel that receives an error if this node had to leave the cluster; nil if there is no
// cluster.
func (n *clusterNode) leftCluster() <-chan error {
	if n == nil {
		return nil
	}
	return n.conflict
}

// view returns the latest view of the cluster, nil if there is no cluster.
func (n *clusterNode) view() *membership.View {
	if n == nil {
		return nil
	}
	return n.watcher.View()
}

func (n *clusterNode) ready() error {
	if n == nil {
		return nil
	}
	return n.watcher.Ready()
}

// spaceOf returns the name of the space of an instance in the cluster's logs.
func spaceOf(id string) string {
	if id == defaultInstance {
		return ""
	}
	return id
}

// replicator is like bus, for presences.
func (n *clusterNode) replicator() func(id string) presence.Replicator {
	if n == nil {
		return nil
	}
	return func(id string) presence.Replicator { return n.presences.Space(spaceOf(id)) }
}

// bus returns a function for the bus that connects the instances with an id on all nodes, nil if there is no cluster.
func (n *clusterNode) bus() func(id string) pubsub.Bus {
	if n == nil {
		return nil
	}
	return func(id string) pubsub.Bus { return n.Bus(spaceOf(id)) }
}

// secretBytes is the smallest size of a secret that natscluster accepts.
const secretBytes = 32

// cluster reads the files named by the options of a cluster.
func (c *checker) cluster() (files clusterFiles) {
	k := c.cfg.Cluster
	if !k.Enabled() {
		return files
	}
	files.node = c.nodeName()
	if k.SecretFile != "" {
		files.secret = c.clusterSecret(k.SecretFile)
	}
	if k.NATSCreds != "" {
		c.readable("cluster.nats_creds", k.NATSCreds)
	}
	files.tls = c.natsTLS()
	return files
}

func (c *checker) nodeName() string {
	if name := c.cfg.Cluster.Node; name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil || !config.IsNodeName(name) {
		c.add("cluster.node is not set, and the name of the machine, %q, is not a valid node name; give each node a name, for example --cluster-node=node-1", name)
	}
	return name
}

func (c *checker) clusterSecret(file string) []byte {
	text := c.readable("cluster.secret_file", file)
	if text == nil {
		return nil
	}
	secret := bytes.TrimSpace(text)
	if len(secret) < secretBytes {
		c.add("%s: %q has %d bytes; it takes a secret of %d or more: \"openssl rand -hex 32\" makes one",
			c.cfg.Name("cluster.secret_file"), file, len(secret), secretBytes)
	}
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
		c.warn("%s: every user of this machine can read %q, and join the cluster; \"chmod o-r\" keeps it from them", c.cfg.Name("cluster.secret_file"), file)
	}
	return secret
}

// natsTLS returns nil if the configuration names no files for it.
func (c *checker) natsTLS() *tls.Config {
	k := c.cfg.Cluster
	if k.NATSCA == "" && k.NATSCert == "" {
		return nil
	}
	made := &tls.Config{MinVersion: tls.VersionTLS12}
	if k.NATSCA != "" {
		made.RootCAs = x509.NewCertPool()
		if text := c.readable("cluster.nats_ca", k.NATSCA); text != nil && !made.RootCAs.AppendCertsFromPEM(text) {
			c.add("%s: %q has no certificate in PEM", c.cfg.Name("cluster.nats_ca"), k.NATSCA)
		}
	}
	if k.NATSCert == "" || k.NATSKey == "" {
		return made
	}
	cert, key := c.readable("cluster.nats_cert", k.NATSCert), c.readable("cluster.nats_key", k.NATSKey)
	if cert == nil || key == nil {
		return made
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.add("%s and %s: %v", c.cfg.Name("cluster.nats_cert"), c.cfg.Name("cluster.nats_key"), err)
	}
	made.Certificates = []tls.Certificate{pair}
	return made
}

// readable returns the contents of a file, nil if it cannot be read.
func (c *checker) readable(key, file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		c.add("%s: %q cannot be read: %v", c.cfg.Name(key), file, withoutPath(err))
		return nil
	}
	return text
}
