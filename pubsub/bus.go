// Package pubsub connects the nodes of a cluster: a [Bus] carries what is broadcast
// on one node to the others.
//
// It is for programs that connect their nodes in a way of their own, and give an
// endpoint a Bus that does it (channels.Options.Bus). A single node needs no bus, and the
// nodes of package cluster have one. Package pubsubtest has the tests
// that every Bus must pass; a [Hub] connects nodes within one process.
package pubsub

import "errors"

// ErrClosed is returned by a [Bus] that is closed, and by a broadcast of an endpoint that
// is shut down.
var ErrClosed = errors.New("pubsub: closed")

// ErrBusy is returned by [Bus.Publish] while too much waits to be sent to the other nodes.
// The broadcast has then reached the subscribers of this node only.
var ErrBusy = errors.New("pubsub: too much waits to be sent to other nodes")

// Bus carries broadcasts between nodes. Its methods must be safe for concurrent use.
type Bus interface {
	// Open connects this node. It is called once, before any other method. The bus calls
	// receive with what other nodes publish to topics that this node is interested in, and never
	// with what this node publishes. Messages that one goroutine of a node publishes to a topic must arrive
	// in order. receive does not block and does not keep or modify data.
	Open(receive func(topic string, data []byte)) error

	// Publish sends data to the other nodes that are interested in topic. It must keep neither
	// topic nor data. It is called from event loops and must not wait for the network: it
	// returns ErrBusy while too much waits to be sent, and ErrClosed after Close.
	Publish(topic string, data []byte) error

	// Interest reports that this node now has subscribers of topic (on), or no longer has any. Calls
	// for one topic come in order and alternate. It is called with a lock held: it must neither
	// block nor call receive. A bus that loses its connection restores the interest by
	// itself, so there is no error to return.
	Interest(topic string, on bool)

	// Close disconnects the node. When it has returned, receive is not running and is not called
	// again. It must not be called from receive. A second Close does nothing.
	Close() error
}
