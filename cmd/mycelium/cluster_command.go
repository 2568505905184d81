package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/internal/config"
)

const clusterUsage = `mycelium cluster manages the nodes of a cluster with built-in NATS servers and
shared instances.

Usage:

  mycelium cluster remove NODE [flags]
        Has the cluster forget a node that is gone for good. Until then the node
        counts when a majority is needed, and what it kept has one copy fewer. A
        node that comes back under its name need not be removed, even if its disk
        is new. The other nodes must be running.

The flags and variables are those of "mycelium serve", of which it takes the
cluster's; a configuration file has them all:

  mycelium cluster remove node-3 --config mycelium.yaml
`

// removeWithin bounds the removal of a node: it waits for the election of a leader, if there is none.
const removeWithin = 30 * time.Second

// manageCluster carries out "mycelium cluster".
func manageCluster(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch {
	case isHelp(verb):
		fmt.Fprint(stdout, clusterUsage)
		return 0
	case verb != "remove":
		return misused(stderr, "cluster", unknownCommand(verb, []string{"remove"}))
	case len(args) > 0 && isHelp(args[0]):
		fmt.Fprint(stdout, clusterUsage)
		return 0
	case len(args) == 0 || !config.IsNodeName(args[0]) || strings.HasPrefix(args[0], "-"):
		return misused(stderr, "cluster remove", errors.New("missing name of the node; for example: mycelium cluster remove node-3"))
	}
	cfg, code := loadConfig(args[1:], environ, clusterUsage, stdout, stderr)
	if cfg == nil {
		return code
	}
	if !cfg.Cluster.Embedded() || !cfg.Cluster.SharesInstances() {
		return failed(stderr, "cluster remove", errors.New("nothing to remove: nodes keep copies only with cluster.listen and cluster.instances=shared"))
	}
	if err := removeNode(ctx, cfg, args[0]); err != nil {
		return failed(stderr, "cluster remove", forPeople(err))
	}
	fmt.Fprintf(stdout, "%s is forgotten\n", args[0])
	return 0
}

func removeNode(ctx context.Context, cfg *config.Config, name string) error {
	c := &checker{cfg: cfg}
	files := c.cluster()
	if err := c.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	k := cfg.Cluster
	return natscluster.RemovePeer(ctx, natscluster.EmbedOptions{
		Cluster: k.Name, Name: "visitor-" + rand.Text()[:8], Listen: "127.0.0.1:0", Routes: k.Routes, Secret: files.secret, Insecure: k.Insecure,
	}, name)
}
