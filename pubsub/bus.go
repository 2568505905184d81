package pubsub

// Bus carries broadcasts between nodes. The package pubsubtest has the suite that every implementation must pass.
// Methods are safe from any goroutine.
type Bus interface {
	// Open connects this node; it is called once and before any other method. receive is called with what other nodes
	// publish to the topics of Interest, never with what this node publishes. What one goroutine of a node
	// publishes to a topic arrives in its order. receive does not block; data is valid until it returns and
	// must not be modified.
	Open(receive func(topic string, data []byte)) error
	// Publish sends data to the other nodes that are interested in topic. Neither topic nor data is kept after it
	// has returned. It is called from event loops and must not wait for the network: ErrBusy while it cannot keep more for
	// it. ErrClosed after Close.
	Publish(topic string, data []byte) error
	// Interest says that this node has subscribers of topic from now on, or has none any more. Calls for one topic come
	// in order and alternate. It is called under a lock: it must neither block nor call receive. A bus that loses its
	// connection restores the interest itself, so there is nobody to return an error to.
	Interest(topic string, on bool)
	// Close disconnects. Once it has returned receive is not running and is not called again. It must not be called
	// from receive. A second Close does nothing.
	Close() error
}

// Codec writes messages for a [Bus] and reads them. It is used for nothing else.
type Codec interface {
	// Encode returns m as bytes for other nodes; the caller drops them before m is released.
	Encode(topic string, m Message) []byte
	// Decode returns the message with one reference, the caller's. data must not be kept.
	Decode(topic string, data []byte) (Message, error)
}
