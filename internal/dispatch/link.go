package dispatch

import (
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// controlTopic is the topic of the bus by which nodes reach each other: see [PubSub.SendControl]. Broadcasts to a topic
// of this name stay on their node, so a client that may broadcast to topics cannot forge a control message.
const controlTopic = "mycelium:control"

// link wraps a [Bus]: a panic in it becomes an error, and the control topic is kept apart.
type link struct {
	// Static after construction.
	bus     pubsub.Bus
	onError func(error)
}

// publish sends a broadcast of a topic to the other nodes.
func (l *link) publish(topic string, data []byte) error {
	if topic == controlTopic {
		return nil
	}
	return l.send(topic, data)
}

func (l *link) send(topic string, data []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pubsub: publish: %w", err)
		}
	}()
	defer callback.Recover("Bus.Publish", &err)
	return l.bus.Publish(topic, data)
}

// interest tells the bus of the node's first and last group of a topic.
func (l *link) interest(topic string, on bool) {
	if topic != controlTopic {
		l.tellInterest(topic, on)
	}
}

func (l *link) tellInterest(topic string, on bool) {
	var err error
	defer func() {
		if err != nil {
			l.failed(err)
		}
	}()
	defer callback.Recover("Bus.Interest", &err)
	l.bus.Interest(topic, on)
}

func (l *link) close() (err error) {
	defer callback.Recover("Bus.Close", &err)
	return l.bus.Close()
}

// failed reports an error that no caller gets.
func (l *link) failed(err error) {
	if l.onError != nil {
		l.onError(err)
	}
}
