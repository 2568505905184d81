package natscluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mycelium-rt/mycelium/cluster"
)

// checkTimeout bounds Check if its context has no deadline.
const checkTimeout = 5 * time.Second

// Check connects to an external NATS server as [Connect] does, and sends itself a
// message on a subject of the named cluster that no node listens to. The error says
// why a node could not work there: the server is not reached or refuses the
// credentials, its max_payload is too small, or a permission is missing.
func Check(ctx context.Context, name, url string, options ...Option) error {
	if err := checkCluster(name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	refused := make(chan error, 1)
	conn, err := nats.Connect(url, append([]nats.Option{
		nats.Name("mycelium check"), nats.Timeout(time.Until(deadline)), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case refused <- err:
			default: // the first error is reported
			}
		}),
	}, options...)...)
	if err != nil {
		return fmt.Errorf("natscluster: connecting to NATS: %w", err)
	}
	defer conn.Close()
	if err := checkPayload(conn); err != nil {
		return err
	}
	subject := "mycelium." + name + ".check." + nats.NewInbox()[len(nats.InboxPrefix):]
	arrived := make(chan *nats.Msg, 1)
	if _, err := conn.ChanSubscribe(subject, arrived); err != nil {
		return fmt.Errorf("natscluster: subscribing to %s: %w", subject, err)
	}
	if err := conn.Publish(subject, nil); err != nil {
		return fmt.Errorf("natscluster: publishing to %s: %w", subject, err)
	}
	select {
	case <-arrived:
		return nil
	case err := <-refused:
		if errors.Is(err, nats.ErrPermissionViolation) {
			return fmt.Errorf("natscluster: the credentials must allow publishing and subscribing to mycelium.%s.>: %w", name, err)
		}
		return fmt.Errorf("natscluster: %w", err)
	case <-ctx.Done():
		return errors.New("natscluster: a message to itself did not come back")
	}
}

func checkPayload(conn *nats.Conn) error {
	if limit := conn.MaxPayload(); limit < cluster.MaxPacket {
		return fmt.Errorf("natscluster: the NATS server's max_payload is %d bytes, want at least %d", limit, cluster.MaxPacket)
	}
	return nil
}
