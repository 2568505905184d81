package pubsub

// Bus carries broadcasts between nodes. The package pubsubtest has the suite that every implementation must pass.
// Methods are safe from any goroutine.
type Bus interface {
	// Open connects this node; it is called once and before any other method. receive is called with what other nodes
	// publish to the topics of Interest, never with what this node publishes. Messages that one goroutine of a node
	// publishes to a topic arrive in order. receive does not block; data is valid until it returns and must not be
	// modified.
	Open(receive func(topic string, data []byte)) error
	// Publish sends data to the other nodes that are interested in topic. It keeps neither topic nor data. It is called
	// from event loops and must not wait for the network: it returns ErrBusy while too much waits to be sent, and
	// ErrClosed after Close.
	Publish(topic string, data []byte) error
	// Interest tells the bus that this node now has subscribers of topic, or no longer has any. Calls for one topic
	// come in order and alternate. It is called under a lock: it must neither block nor call receive. A bus that loses
	// its connection restores the interest itself, so there is no error to return.
	Interest(topic string, on bool)
	// Close disconnects. Once it has returned receive is not running and is not called again. It must not be called
	// from receive. A second Close does nothing.
	Close() error
}

// Codec encodes and decodes messages for a [Bus].
type Codec interface {
	// Encode returns m as bytes for other nodes; the caller does not use them after m is released.
	Encode(topic string, m Message) []byte
	// Decode returns the message with one reference, owned by the caller. It must not keep data.
	Decode(topic string, data []byte) (Message, error)
}
