package forward

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// Elsewhere is the error of a lookup for something that another node serves.
type Elsewhere struct {
	node    *Node
	name    string
	address string
}

// Elsewhere returns the error for what another node serves, which listens at address.
func (n *Node) Elsewhere(name, address string) *Elsewhere {
	return &Elsewhere{node: n, name: name, address: address}
}

// Find returns the node with an id, nil if there is none or nothing is heard from it.
func (n *Node) Find(id uint64) *Elsewhere {
	name, address, ok := n.options.Find(id)
	if !ok {
		return nil
	}
	return n.Elsewhere(name, address)
}

// Error implements error.
func (e *Elsewhere) Error() string {
	return fmt.Sprintf("forward: served by the node %s at %s", e.name, e.address)
}

// Name returns the name of the node.
func (e *Elsewhere) Name() string { return e.name }

// First returns what to send first on a connection of [Elsewhere.Open]: the request of
// a client, with the claim, and whatever followed it.
func (e *Elsewhere) First(request []byte, c Claim) []byte { return e.node.insertClaim(request, c) }

// Sign returns the value of [Field] for a client whose request has another form than a
// head.
func (e *Elsewhere) Sign(c Claim) string { return e.node.sign(c) }

// Open connects to the node for a client. The connection is counted until
// [Elsewhere.Closed].
func (e *Elsewhere) Open(ctx context.Context) (net.Conn, error) {
	conn, err := e.node.dial(ctx, e.address)
	if err != nil {
		e.node.counters.failures.Add(1)
		return nil, err
	}
	e.node.counters.connections.Add(1)
	e.node.counters.open.Add(1)
	return conn, nil
}

// Closed ends the count of a connection of Open. failed reports whether it was of no
// use: the node closed it before it had answered.
func (e *Elsewhere) Closed(failed bool) {
	e.node.counters.open.Add(-1)
	if failed {
		e.node.counters.failures.Add(1)
	}
}

// Relay answers a request of net/http with what the node answers. It does not pass on
// upgrades. If the node cannot be asked, failed answers the request.
func (e *Elsewhere) Relay(w http.ResponseWriter, r *http.Request, c Claim, failed func(error)) {
	proxy := httputil.ReverseProxy{
		Transport:     e.node.transport,
		Rewrite:       func(p *httputil.ProxyRequest) { e.rewrite(p, c) },
		FlushInterval: -1, // what the node streams is streamed
		ModifyResponse: func(a *http.Response) error {
			takePlace(w.Header(), a.Header)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { e.fail(r, err, failed) },
		ErrorLog:     discard,
	}
	e.node.counters.requests.Add(1)
	proxy.ServeHTTP(w, r)
}

// fail answers a request that the node did not answer, unless the client has gone or
// its time is over.
func (e *Elsewhere) fail(r *http.Request, err error, failed func(error)) {
	if deadline, ok := r.Context().Deadline(); r.Context().Err() != nil || ok && !time.Now().Before(deadline) {
		return
	}
	e.node.counters.failures.Add(1)
	failed(err)
}
