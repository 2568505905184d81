// Package pair makes an application under test one of two nodes of a cluster, so that it
// can be tested while clients of the other node put it under load.
package pair

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/cluster/presences"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// joinTimeout is how long the other node may take, on a busy machine.
const joinTimeout = 90 * time.Second

// secret is shared by both nodes, which reach each other over loopback.
var secret = []byte(strings.Repeat("of two nodes ", 3))

// Flags tell an application about its cluster.
type Flags struct{ listen, route string }

// Define defines the flags -cluster-listen and -cluster-route.
func (f *Flags) Define(set *flag.FlagSet) {
	set.StringVar(&f.listen, "cluster-listen", "", "be a node of a cluster, and wait at this `address` for the other")
	set.StringVar(&f.route, "cluster-route", "", "be the second node of a cluster, and find the first at this `address`")
}

// Node is the application in its cluster. A nil Node is an application without a cluster:
// Bus and Replicator return nil.
type Node struct {
	node  *cluster.Node
	kinds *presences.Kind
}

// Join makes the application a node if the flags say so. The second one waits for the first.
func (f *Flags) Join() (*Node, error) {
	if f.listen == "" && f.route == "" {
		return nil, nil
	}
	o := natscluster.EmbedOptions{Cluster: "pair", Name: "first", Listen: f.listen, Secret: secret}
	if f.route != "" {
		o.Name, o.Listen, o.Routes = "second", "127.0.0.1:0", []string{"nats://" + f.route}
	}
	transport, err := natscluster.Embed(o)
	if err != nil {
		return nil, err
	}
	n := &Node{kinds: presences.New()}
	n.node, err = cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: o.Name, Kinds: n.kinds.Types()})
	if err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	n.kinds.Start(n.node)
	if f.route != "" {
		if err := n.awaitOther(); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// awaitOther waits until the first node is up, and checks that the two number their presences differently.
func (n *Node) awaitOther() error {
	for end := time.Now().Add(joinTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if peers := n.node.Stats().Peers; len(peers) == 1 && peers[0].Up {
			if !presences.Distinct(n.node) {
				return errors.New("both nodes have drawn the same number for their presences: start them again")
			}
			return nil
		}
	}
	return fmt.Errorf("the first node did not appear within %v", joinTimeout)
}

// Bus returns what connects the application's endpoint with that of the other node.
func (n *Node) Bus() pubsub.Bus {
	if n == nil {
		return nil
	}
	return n.node.Bus("")
}

// Replicator returns what connects the application's presences with those of the other node.
func (n *Node) Replicator() presence.Replicator {
	if n == nil {
		return nil
	}
	return n.kinds.Space("")
}

// Close says goodbye to the other node. The application's endpoint must have ended.
func (n *Node) Close() error {
	if n == nil {
		return nil
	}
	return n.node.Close()
}
