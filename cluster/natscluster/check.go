package natscluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/cluster"
)

// checkTimeout bounds a check, in addition to its context.
const checkTimeout = 5 * time.Second

// statePayload is the smallest max_payload, in bytes, of NATS servers that keep instances:
// room for a state (1 MiB), its subject and its header fields.
const statePayload = 1<<20 + 4<<10

// Check connects to an external NATS server as [Connect] does, and sends itself a
// message on a subject of the named cluster that no node listens to. The error says
// why a node could not work there: the server cannot be reached or refuses the
// credentials, its max_payload is too small, or a permission is missing.
func Check(ctx context.Context, name, url string, options ...Option) error {
	if err := checkCluster(name); err != nil {
		return err
	}
	return check(ctx, url, options, func(ctx context.Context, conn *nats.Conn) error {
		if err := checkPayload(conn, cluster.MaxPacket); err != nil {
			return err
		}
		subject := "mycelium." + name + ".check." + nats.NewInbox()[len(nats.InboxPrefix):]
		return explain(ctx, echo(ctx, conn, subject), "publishing and subscribing to mycelium."+name+".>")
	})
}

// CheckJetStream checks whether an external NATS server can keep a key-value bucket, which
// need not exist yet. The error says what is missing: JetStream, a permission, or a large
// enough max_payload. It writes nothing.
func CheckJetStream(ctx context.Context, url, bucket string, options ...Option) error {
	return check(ctx, url, options, func(ctx context.Context, conn *nats.Conn) error {
		if err := checkPayload(conn, statePayload); err != nil {
			return err
		}
		js, err := jetstream.New(conn)
		if err != nil {
			return fmt.Errorf("natscluster: %w", err)
		}
		const api = "publishing to $JS.API.> and subscribing to _INBOX.>"
		switch _, err = js.AccountInfo(ctx); {
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return errors.New("natscluster: the NATS server has no JetStream, or not for this account: it must be enabled for shared instances")
		case err != nil:
			return explain(ctx, err, api)
		}
		// These requests are invalid, so JetStream answers them with an error if they are permitted.
		for _, subject := range []string{"STREAM.CREATE.KV_" + bucket, "STREAM.INFO.KV_" + bucket, "CONSUMER.CREATE.KV_" + bucket + ".check"} {
			if err := answered(ctx, conn, nats.NewMsg("$JS.API."+subject)); err != nil {
				return explain(ctx, err, api)
			}
		}
		put := nats.NewMsg("$KV." + bucket + ".check")
		put.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(uint64(1)<<62)) // which no key has
		err = answered(ctx, conn, put)
		if errors.Is(err, nats.ErrNoResponders) {
			err = nil // the bucket does not exist yet
		}
		return explain(ctx, err, "publishing to $KV."+bucket+".>")
	})
}

// check calls do with a connection to a server. If the server refuses something, the
// cause of ctx is that error.
func check(ctx context.Context, url string, options []Option, do func(ctx context.Context, conn *nats.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	conn, err := nats.Connect(url, append([]nats.Option{
		nats.Name("mycelium check"), nats.Timeout(time.Until(deadline)), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refuse(err) }),
	}, options...)...)
	if err != nil {
		return fmt.Errorf("natscluster: connecting to NATS: %w", err)
	}
	defer conn.Close()
	return do(ctx, conn)
}

// echo sends a message to itself.
func echo(ctx context.Context, conn *nats.Conn, subject string) error {
	arrived := make(chan *nats.Msg, 1)
	if _, err := conn.ChanSubscribe(subject, arrived); err != nil {
		return err
	}
	if err := conn.Publish(subject, nil); err != nil {
		return err
	}
	select {
	case <-arrived:
		return nil
	case <-ctx.Done():
		return errors.New("a message to itself did not come back")
	}
}

// answered returns nil if JetStream answers a request, even with an error.
func answered(ctx context.Context, conn *nats.Conn, m *nats.Msg) error {
	if m.Data == nil {
		m.Data = []byte("{}")
	}
	answer, err := conn.RequestMsgWithContext(ctx, m)
	if err == nil && !json.Valid(answer.Data) {
		return fmt.Errorf("%s is answered with %q", m.Subject, answer.Data)
	}
	return err
}

// explain adds to an error what the server refused, and which permission is needed.
func explain(ctx context.Context, err error, needs string) error {
	refused := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(refused, nats.ErrPermissionViolation):
		return fmt.Errorf("natscluster: the credentials must allow %s: %w", needs, refused)
	case refused != nil && !errors.Is(refused, context.DeadlineExceeded):
		err = refused
	}
	return fmt.Errorf("natscluster: %w", err)
}

func checkPayload(conn *nats.Conn, least int64) error {
	if limit := conn.MaxPayload(); limit < least {
		return fmt.Errorf("natscluster: the NATS server's max_payload is %d bytes, want at least %d", limit, least)
	}
	return nil
}
