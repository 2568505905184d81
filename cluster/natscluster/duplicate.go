package natscluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// greetTimeout bounds how long a starting node waits for other servers to tell their names.
const greetTimeout = 2 * time.Second

// checkName fails if a server that answers at one of the routes has the name that this one
// is about to take. Servers that keep streams are named after their nodes, and servers with
// the same name refuse each other, so package cluster could not detect the duplicate.
func checkName(options *server.Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), greetTimeout)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	var taken error
	for address := range addresses(ctx, options.Routes) {
		all.Go(func() {
			if greet(ctx, address, options.Cluster.TLSConfig) != options.ServerName {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			taken = fmt.Errorf("natscluster: another node is called %q, at %s: give each node a name of its own", options.ServerName, address)
		})
	}
	all.Wait()
	return taken
}

// addresses returns the addresses that routes resolve to, each once.
func addresses(ctx context.Context, routes []*url.URL) map[string]bool {
	found := make(map[string]bool)
	for _, r := range routes {
		hosts, err := net.DefaultResolver.LookupHost(ctx, r.Hostname())
		if err != nil {
			continue // that node may not be there yet
		}
		for _, host := range hosts {
			found[net.JoinHostPort(host, r.Port())] = true
		}
	}
	return found
}

// greet returns the name of the server at an address, "" if none answers.
func greet(ctx context.Context, address string, config *tls.Config) string {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline) //nolint:errcheck // the read below fails then
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	var info server.Info
	if err != nil || json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info) != nil {
		return ""
	}
	return info.Name
}
