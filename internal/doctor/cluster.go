package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mycelium-rt/mycelium/internal/bind"
)

// Cluster is a node's configuration of its cluster.
type Cluster struct {
	Name string
	// Listen is the address for other nodes, if the node has a NATS server built in.
	Listen string
	// Routes are the addresses of other nodes, such as "nats://node-1:6222".
	Routes []string
	// Servers are the addresses of external NATS servers.
	Servers []string
	// Connect connects to one of Servers as a node does, and tries it.
	Connect func(ctx context.Context, server string) error
	// Live checks the nodes that run, by those of Routes or Servers that are reached, within
	// liveTimeout. It is not called if none is. May be nil.
	Live func(ctx context.Context, reached []string) []Check
}

// reachTimeout bounds the check of one address. They run at the same time.
const reachTimeout = 3 * time.Second

// liveTimeout bounds the check of the nodes that run.
const liveTimeout = 10 * time.Second

// ExamineCluster checks the addresses of a cluster, and adds them to the checks
// before, which are of its files.
func (r *Report) ExamineCluster(ctx context.Context, c Cluster, before []Check) {
	work := []func(context.Context) Check{}
	if c.Listen != "" {
		work = append(work, func(context.Context) Check { return listens(c.Listen) })
	}
	for _, route := range c.Routes {
		work = append(work, func(ctx context.Context) Check { return reaches(ctx, route) })
	}
	for _, server := range c.Servers {
		work = append(work, func(ctx context.Context) Check { return connects(ctx, server, c.Connect) })
	}
	found := make([]Check, len(work))
	var all sync.WaitGroup
	for i, check := range work {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, reachTimeout)
			defer cancel()
			found[i] = check(ctx)
		})
	}
	all.Wait()
	r.ClusterName, r.Cluster = c.Name, slices.Concat(before, found)
	if reached := reached(c, found[len(found)-len(c.Routes)-len(c.Servers):]); c.Live != nil && len(reached) > 0 {
		ctx, cancel := context.WithTimeout(ctx, liveTimeout)
		defer cancel()
		r.Cluster = append(r.Cluster, c.Live(ctx, reached)...)
	}
	for _, check := range r.Cluster {
		r.OK = r.OK && check.Status != Failed
	}
}

// AddCheck adds a check that does not depend on the number of connections.
func (r *Report) AddCheck(c Check) {
	r.Checks = append(r.Checks, c)
	r.OK = r.OK && c.Status != Failed
}

// reached returns the addresses whose checks are good.
func reached(c Cluster, checks []Check) (addresses []string) {
	for i, address := range slices.Concat(c.Routes, c.Servers) {
		if checks[i].Status == OK {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func listens(address string) Check {
	c := Check{Name: "cluster.listen", Status: OK, Value: address + " is free", Why: "other nodes connect to it"}
	err := bind.Check(address)
	switch {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE):
		c.Value = address + " is in use: by this node, if it runs"
	default:
		c.Status, c.Value, c.Why = Failed, address, "cannot listen on it: "+cause(err)
	}
	return c
}

// reaches resolves a route and connects to each of its addresses.
func reaches(ctx context.Context, route string) Check {
	c := Check{Name: "route", Status: OK, Value: route, Why: "the node reaches other nodes through it"}
	u, err := url.Parse(route)
	if err != nil {
		c.Status, c.Why = Failed, err.Error()
		return c
	}
	c.Value = u.Host
	addresses, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		c.Status, c.Why = Failed, "the name cannot be resolved: "+cause(err)
		return c
	}
	failed := make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { failed[i] = dial(ctx, net.JoinHostPort(address, u.Port())) })
	}
	all.Wait()
	reached := 0
	for i, err := range failed {
		switch {
		case err == nil:
			reached++
		case errors.Is(err, syscall.ECONNREFUSED):
			if c.Status == OK {
				c.Status, c.Why = Advice, addresses[i]+" refuses connections: no node runs there yet, or it listens on another port"
			}
		default:
			c.Status, c.Why = Failed, addresses[i]+" cannot be reached: "+cause(err)+"; is there a firewall between?"
		}
	}
	c.Value = fmt.Sprintf("%s: %d of %d addresses reached", u.Host, reached, len(addresses))
	return c
}

func dial(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func connects(ctx context.Context, server string, connect func(context.Context, string) error) Check {
	c := Check{Name: "cluster.nats_url", Status: OK, Value: server, Why: "nodes reach each other through it"}
	if u, err := url.Parse(server); err == nil {
		c.Value = u.Scheme + "://" + u.Host // without a password
	}
	if err := connect(ctx, server); err != nil {
		c.Status, c.Why = Failed, err.Error()
	}
	return c
}

// cause is an error without the address, which is in the value.
func cause(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &op) && op.Timeout():
		return fmt.Sprintf("no answer within %s", reachTimeout)
	case errors.As(err, &dns):
		return dns.Err
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}
