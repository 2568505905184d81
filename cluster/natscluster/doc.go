// Package natscluster carries a cluster over NATS: a server of its own within
// this process, for which nothing has to be installed, or external ones.
//
//	transport, err := natscluster.Embed(natscluster.EmbedOptions{
//		Cluster: "prod", Name: "node-1", Listen: ":6222", Routes: []string{"nats://node-2:6222"}, Secret: secret,
//	})
//	node, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: "node-1"})
//	endpoint, err := channels.NewEndpoint(channels.Options{Bus: node.Bus("")})
//
// A program that does not import it does not link NATS.
package natscluster
