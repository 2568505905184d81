package channels

import (
	"errors"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/wire"
)

// sendMessageReply answers a message on behalf of the socket itself, at once.
// response is JSON.
func (s *Socket) sendMessageReply(joinRef wire.Ref, m *wire.Message, status string, response []byte) {
	f, err := s.key.ReplyJSON(joinRef, m.Ref, m.TopicJSON, status, Payload{Data: response})
	if err != nil {
		s.line(zerolog.ErrorLevel, "reply cannot be encoded").Err(err).Write() // JSON replies always can
		return
	}
	s.send(f)
}

// sendEnd sends phx_close or phx_error for a channel.
func (s *Socket) sendEnd(c *Context, event string, payload []byte) {
	s.send(s.key.Control(c.joinRefWire(), c.topic, event, payload))
}

// pushTo encodes a push and sends it. Bytes that the transport cannot carry are
// counted and dropped.
func (c *Context) pushTo(joinRef wire.Ref, topic, event string, p Payload) error {
	f, err := c.socket.key.Push(joinRef, topic, event, p)
	switch {
	case errors.Is(err, frames.ErrTextOnly):
		c.socket.transport.undeliverable()
		return nil
	case err != nil:
		return err
	}
	return c.send(f)
}
