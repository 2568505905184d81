package channels

import (
	"errors"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// Ref is a message that waits for its reply. It may be stored, and used once,
// by any goroutine.
type Ref struct {
	c   *Context
	ref wire.Ref
}

// IsZero reports whether the client expects no reply.
func (r Ref) IsZero() bool { return r.c == nil }

// Reply sends the reply: a status, which is "ok", "error" or a word of the
// application, and a response, which is any JSON value or Binary; nil means {}.
// It does nothing for a zero Ref. It returns ErrNotText for a Binary response
// to a client of protocol version 1.
func (r Ref) Reply(status string, response any) error {
	if r.IsZero() {
		return nil
	}
	return r.c.reply(r.ref, status, response)
}

// MarshalJSON returns the ref as the client sent it, or null for the zero Ref.
func (r Ref) MarshalJSON() ([]byte, error) {
	if r.ref == nil {
		return []byte("null"), nil
	}
	return r.ref, nil
}

// reply encodes and sends the answer to a message. A binary response that
// cannot be carried, by a binary frame for a topic of more than 255 bytes or by
// long polling, becomes an error reply, because the client would otherwise wait
// for an answer that never comes.
func (c *Context) reply(ref wire.Ref, status string, response any) error {
	f, err := c.replyFrame(ref, status, response)
	if err != nil {
		return err
	}
	return c.send(f)
}

// replyFrame encodes the answer to a message.
func (c *Context) replyFrame(ref wire.Ref, status string, response any) (*netloop.Frame, error) {
	payload, err := encodePayload(response)
	if err != nil {
		return nil, err
	}
	f, err := c.socket.key.Reply(c.joinRef, ref, c.clientTopic(), status, payload)
	if reason := notCarried(err); reason != "" {
		c.line(zerolog.WarnLevel, "binary reply not possible").Err(err).Str("event", c.Event()).Write()
		f, err = c.socket.key.Reply(c.joinRef, ref, c.clientTopic(), "error", reasonPayload(reason))
	}
	return f, err
}

// notCarried returns the reason in the error reply for a reply that cannot
// reach the client.
func notCarried(err error) string {
	switch {
	case errors.Is(err, wire.ErrTooLong):
		return reasonTooLong
	case errors.Is(err, frames.ErrTextOnly):
		return reasonTextOnly
	}
	return ""
}

// answerReply sends the reply that a handler returned.
func (c *Context) answerReply(ref wire.Ref, r Reply) error {
	if r.Status == "" {
		return nil
	}
	return c.reply(ref, r.Status, r.Response)
}

func (c *Context) answerError(ref wire.Ref, err error) error {
	return c.reply(ref, "error", c.errorResponse(err))
}

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
	s.send(s.key.Control(c.joinRefWire(), c.clientTopic(), event, payload))
}

// errorResponse returns the response to the client for an error. Errors that
// are not meant for clients are only logged.
func (c *Context) errorResponse(err error) any {
	if reply, ok := replyError(err); ok {
		return reply.Response
	}
	c.failure(err, "handler failed").Str("event", c.Event()).Write()
	return reasonPayload(reasonInternal)
}

// Reasons that this package sends to clients. The first four are Phoenix's
// (lib/phoenix/socket.ex, channel/server.ex).
const (
	reasonUnmatched   = "unmatched topic"
	reasonJoinCrashed = "join crashed"
	reasonTooMany     = "too many channels joined"
	reasonCrash       = "channel_crash"

	reasonKeepsTooMuch = "too many bytes in topics and presences"
	reasonLongTopic    = "topic too long"
	reasonOverloaded   = "channel overloaded"
	reasonJoinTimeout  = "join timeout"
	reasonJoins        = "too many joins"
	reasonMessages     = "too many messages"
	reasonBytes        = "too many bytes"
	reasonInternal     = "internal error"
	// As in Phoenix's generated channels (priv/templates/phx.gen.channel).
	reasonUnauthorized = "unauthorized"
	reasonTextOnly     = "binary reply not possible: long polling carries text only"
	reasonTooLong      = "binary reply not possible: topic, ref or status is longer than 255 bytes"
)

func reasonPayload(reason string) Payload {
	return Payload{Data: []byte(`{"reason":"` + reason + `"}`)}
}
