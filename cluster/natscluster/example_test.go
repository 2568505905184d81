package natscluster_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/natscluster"
)

// Two nodes, here in one process: what one broadcasts reaches the other's subscribers.
func Example() {
	secret := []byte(strings.Repeat("a secret that all nodes have ", 2))
	first, err := natscluster.Embed(natscluster.EmbedOptions{Cluster: "prod", Name: "node-1", Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		log.Fatal(err)
	}
	second, err := natscluster.Embed(natscluster.EmbedOptions{
		Cluster: "prod", Name: "node-2", Listen: "127.0.0.1:0", Routes: []string{"nats://" + first.RouteAddr().String()}, Secret: secret,
	})
	if err != nil {
		log.Fatal(err)
	}
	var nodes []*cluster.Node
	var endpoints []*channels.Endpoint
	for i, transport := range []*natscluster.Transport{first, second} {
		node, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: fmt.Sprint("node-", i+1)})
		if err != nil {
			log.Fatal(err)
		}
		endpoint, err := channels.NewEndpoint(channels.Options{Bus: node.Bus("")})
		if err != nil {
			log.Fatal(err)
		}
		nodes, endpoints = append(nodes, node), append(endpoints, endpoint)
	}

	heard := make(chan string)
	endpoints[1].Subscribe("room:1", func(_, event string, p channels.Payload) { heard <- event + " " + string(p.Data) })
	for peers := nodes[0].Stats().Peers; len(peers) == 0 || !peers[0].Up; peers = nodes[0].Stats().Peers {
		time.Sleep(10 * time.Millisecond)
	}
	if err := endpoints[0].Broadcast("room:1", "new_msg", map[string]string{"body": "hello"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)

	for i := range nodes { // the node after its endpoint: the goodbye is the last that it says
		if err := endpoints[i].Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
		if err := nodes[i].Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output: new_msg {"body":"hello"}
}
