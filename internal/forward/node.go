package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/nodekey"
)

// Options of a [Node]. All except Insecure are required.
type Options struct {
	// Name is the name of this node.
	Name string
	// Secret is the secret that the nodes share, at least 32 bytes.
	Secret []byte
	// Insecure does without TLS. Nodes still prove that they have the secret, but
	// whoever can read their traffic can impersonate them.
	Insecure bool
	// Find returns the name of the node with an id, and where it listens. An id is that
	// of one run of a node; tokens of long polling contain it. ok is false if there is
	// no such node, or nothing is heard from it. Find is called often, and must not
	// block.
	Find func(id uint64) (name, address string, ok bool)
}

const (
	// dialTimeout bounds connecting to another node. It is shorter than the time
	// after which a silent node counts as dead.
	dialTimeout = 3 * time.Second
	// goneAfter is about how long requests wait for a node that has vanished from the
	// network. Connections of WebSockets are watched by their loops.
	goneAfter = 12 * time.Second
	// idleTimeout is how long a connection is kept without a request. It is shorter
	// than the time after which the other node closes it.
	idleTimeout = 30 * time.Second
	// idleConns is how many idle connections are kept for each node.
	idleConns = 256
	// answerTimeout is how long another node may take to begin an answer: longer than
	// a poll waits, which is 5 minutes at most.
	answerTimeout = 6 * time.Minute
	// bufferSize is the size of the two buffers of such a connection, in bytes.
	bufferSize = 4 << 10
)

// Node is this process as one of several that forward clients to each other. Its
// methods are safe from any goroutine.
type Node struct {
	// Static after New.
	options   Options
	tls       *tls.Config // nil: Insecure
	key       []byte      // of claims
	transport *http.Transport
	polls     pool
	dialer    net.Dialer

	counters counters
}

type counters struct {
	open                        atomic.Int64
	connections, requests       atomic.Uint64
	failures                    atomic.Uint64
	receivedConns, receivedReqs atomic.Uint64
}

// New returns a node, to be ended with Close.
func New(o Options) (*Node, error) {
	n := &Node{options: o, key: nodekey.Derive(o.Secret, "forwarding", 32), dialer: net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: goneAfter / 2, Interval: goneAfter / 6, Count: 3},
	}}
	if !o.Insecure {
		var err error
		if n.tls, err = nodekey.TLS(o.Secret, o.Name); err != nil {
			return nil, err
		}
	}
	n.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return n.dial(ctx, address) },
		// The client's own Accept-Encoding is passed on, and the answer as it is.
		DisableCompression:  true,
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout, ResponseHeaderTimeout: answerTimeout,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
	}
	return n, nil
}

// Close closes the connections that no request uses.
func (n *Node) Close() {
	n.transport.CloseIdleConnections()
	n.polls.close()
}

// TokenKey returns the key with which all nodes sign tokens of long polling.
func (n *Node) TokenKey() []byte { return nodekey.Derive(n.options.Secret, "long polling", 32) }

// Listen listens for what other nodes forward. Without the secret, nobody completes the
// TLS handshake of a connection.
func (n *Node) Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil || n.tls == nil {
		return l, err
	}
	return netloop.NewTLSListener(l, n.tls), nil
}

// dial connects to another node.
func (n *Node) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := n.dialer.DialContext(ctx, "tcp", address)
	if err != nil || n.tls == nil {
		return c, err
	}
	secured := tls.Client(netloop.NewWire(c, nil, nil), n.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		c.Close() // the first error is the one to report
		return nil, fmt.Errorf("forward: no node of this cluster at %s: %w", address, err)
	}
	return secured, nil
}

// Received counts a connection or a request that another node has forwarded.
func (n *Node) Received(connection bool) {
	if connection {
		n.counters.receivedConns.Add(1)
	} else {
		n.counters.receivedReqs.Add(1)
	}
}

// Stats are the counters of a node since its start, and its present state.
type Stats struct {
	// Open counts connections of clients that are forwarded to other nodes now.
	Open int64
	// Connections counts them since the start. Requests counts requests that were passed
	// to other nodes, whether or not these answered.
	Connections, Requests uint64
	// Failures counts connections and requests that the other node did not take.
	Failures uint64
	// ReceivedConnections and ReceivedRequests count what other nodes have forwarded
	// to this one.
	ReceivedConnections, ReceivedRequests uint64
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	c := &n.counters
	return Stats{
		Open: c.open.Load(), Connections: c.connections.Load(), Requests: c.requests.Load(), Failures: c.failures.Load(),
		ReceivedConnections: c.receivedConns.Load(), ReceivedRequests: c.receivedReqs.Load(),
	}
}
