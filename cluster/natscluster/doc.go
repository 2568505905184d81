// Package natscluster connects the nodes of package cluster over NATS: over a
// NATS server within each process, for which nothing has to be installed, or
// over external servers.
//
//	transport, err := natscluster.Embed(natscluster.EmbedOptions{
//		Cluster: "prod", Name: "node-1", Listen: ":6222", Routes: []string{"nats://node-2:6222"}, Secret: secret,
//	})
//	node, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: "node-1"})
//	endpoint, err := channels.NewEndpoint(channels.Options{Bus: node.Bus("")})
//
// Programs that do not import the package do not link NATS.
package natscluster
