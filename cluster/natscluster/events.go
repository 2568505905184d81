package natscluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrTooLarge is returned for an event that is larger than the NATS servers' max_payload.
var ErrTooLarge = errors.New("natscluster: the event is larger than max_payload of the NATS server")

// Publisher publishes events for other programs. It has a connection of its own, whose
// traffic never delays that between nodes.
type Publisher struct {
	connection *nats.Conn
	prefix     string // of subjects: "mycelium.<cluster>.events."
}

// publishTimeout is how long the NATS server may take to confirm what it was sent.
const publishTimeout = 10 * time.Second

// Event is what a [Publisher] publishes.
type Event struct {
	// Subject follows "mycelium.<cluster>.events.".
	Subject string
	// ID is the header Nats-Msg-Id, by which a stream of JetStream recognizes what it has.
	ID   string
	Data []byte
}

// OpenPublisher returns a publisher. The caller closes it before the Transport.
func (t *Transport) OpenPublisher() (*Publisher, error) {
	conn, err := t.dial(nats.Name("mycelium events"))
	if err != nil {
		return nil, err
	}
	return &Publisher{connection: conn, prefix: t.prefix + "events."}, nil
}

// Publish publishes events in their order, and returns when the NATS server has all of
// them. If it fails, some may have been published. While NATS is not connected it fails
// at once.
func (p *Publisher) Publish(ctx context.Context, list []Event) error {
	for _, e := range list {
		m := nats.NewMsg(p.prefix + e.Subject)
		m.Data = e.Data
		m.Header.Set(nats.MsgIdHdr, e.ID)
		switch err := p.connection.PublishMsg(m); {
		case errors.Is(err, nats.ErrMaxPayload):
			return ErrTooLarge
		case err != nil:
			return fmt.Errorf("natscluster: publishing events: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout) // a flush needs a deadline
	defer cancel()
	if err := p.connection.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("natscluster: publishing events: %w", err)
	}
	return nil
}

// Close closes the connection.
func (p *Publisher) Close() { p.connection.Close() }
