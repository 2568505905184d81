package natstest

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// Message is a message that a NATS server has delivered.
type Message struct {
	Subject string
	ID      string // the header Nats-Msg-Id
	Data    []byte
}

// Listen returns the messages of a subject until the test ends. At most a thousand wait.
func Listen(t testing.TB, url, subject string) <-chan Message {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	messages := make(chan Message, 1000)
	_, err = conn.Subscribe(subject, func(m *nats.Msg) {
		messages <- Message{m.Subject, m.Header.Get(nats.MsgIdHdr), m.Data}
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return messages
}
