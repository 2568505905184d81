package channels

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// Guard decides what the client of one socket may do, before a channel is
// asked. SocketOptions.Connect sets it with [Socket.SetGuard]. Its methods are
// called on the socket's event loop, one at a time, and must not block.
//
// An error refuses the client: a [*ReplyError] with its response, any other
// error with the reason "unauthorized", which is logged at level debug.
type Guard interface {
	// Opened is called when the socket is connected, and Closed once when it
	// has ended. Neither is called for a socket that is refused after Connect.
	Opened()
	Closed()
	// Join is called before the join callback of a channel. If it refuses a
	// join of a topic that the socket has joined already, the joined channel
	// ends, as in Phoenix.
	Join(topic string) error
	// Event is called before the handler of each event. event is valid until
	// Event returns. If it returns an EventFunc, that handles the event instead
	// of the channel.
	Event(topic string, event []byte) (EventFunc, error)
}

// ClientGuard is a [Guard] that knows the user of its socket. Limits that
// clients share then count the sockets of one user together, whatever their
// addresses. Its method may be called from any goroutine.
type ClientGuard interface {
	Guard
	// Client returns the name of the user, or "" if it is not known. It does not
	// change while the socket is open.
	Client() string
}

// EventFunc handles an event instead of a channel; see [Guard]. It runs on a
// goroutine of its own, concurrently with the channel's callbacks, and may
// block. It owns p. The reply must be JSON.
type EventFunc func(c *Context, p Payload) (Reply, error)

// SetGuard sets the guard of the socket. It panics outside of
// SocketOptions.Connect.
func (s *Socket) SetGuard(g Guard) {
	s.mustConnect("SetGuard")
	s.identify().guard = g
}

// Guard returns the guard of the socket, or nil.
func (s *Socket) Guard() Guard {
	if s.identity == nil {
		return nil
	}
	return s.identity.guard
}

// Close closes the socket with a WebSocket close code and a reason of at most
// 123 bytes. A session of long polling ends. Clients reconnect unless the code
// is 1000. Messages that are sent after Close do not arrive. Close does nothing
// for a socket that has ended, and must not be called before the socket is
// open.
func (s *Socket) Close(code uint16, reason string) {
	s.loop.Post(netloop.TaskFunc(func() { s.closeNow(code, reason) }))
}

// closeNow is Close on the socket's loop.
func (s *Socket) closeNow(code uint16, reason string) {
	if s.isOpen() {
		s.end = socketLeaving
		s.transport.close(code, reason)
	}
}

// EachChannel calls f for each channel that the socket has joined, later and on
// the socket's event loop, where f must not block. It must not be called before
// the socket is open.
func (s *Socket) EachChannel(f func(c *Context)) {
	s.loop.Post(netloop.TaskFunc(func() {
		callback.Each(s.channels.all(), func(c *Context) {
			if c.life.view == joined {
				s.endpoint.reportPanic(callEach(f, c))
			}
		})
	}))
}

func callEach(f func(c *Context), c *Context) (err error) {
	defer callback.Recover("EachChannel", &err)
	f(c)
	return nil
}

// joinRefused asks the guard about a join, and reports whether the guard has
// refused it; if so, the join has been answered.
func (s *Socket) joinRefused(g Guard, old *Context, m *wire.Message) bool {
	err := s.askJoin(g, string(m.Topic))
	if err == nil {
		return false
	}
	response := s.guardResponse(err)
	s.logRefusedJoin(m.Topic, string(response))
	s.sendMessageReply(m.JoinRef, m, "error", response)
	if old != nil {
		s.channels.remove(old)
		old.kill(ErrRejoined)
		s.sendEndOf(old)
	}
	return true
}

// guardTakes asks the guard about an event. It returns true if the guard has
// refused it or handles it itself.
func (s *Socket) guardTakes(g Guard, c *Context, m *wire.Message) bool {
	handle, err := s.askEvent(g, c.clientTopic(), m.Event)
	switch {
	case err != nil:
		s.sendMessageReply(c.joinRef, m, "error", s.guardResponse(err))
	case handle != nil:
		ref, p := m.Ref.Clone(), Payload{Data: bytes.Clone(m.Payload.Data), Binary: m.Payload.Binary}
		s.endpoint.spawn(jobFunc(func() { c.handleForGuard(handle, ref, p) }))
	default:
		return false
	}
	return true
}

func (s *Socket) askJoin(g Guard, topic string) (err error) {
	defer s.reportGuard(&err)
	defer callback.Recover("Guard.Join", &err)
	return g.Join(topic)
}

func (s *Socket) askEvent(g Guard, topic string, event []byte) (handle EventFunc, err error) {
	defer s.reportGuard(&err)
	defer callback.Recover("Guard.Event", &err)
	return g.Event(topic, event)
}

// reportGuard reports a guard that panicked, which counts as a refusal.
func (s *Socket) reportGuard(err *error) {
	if *err != nil {
		s.endpoint.reportPanic(*err)
	}
}

// guardResponse returns the response to the client for a guard's error.
func (s *Socket) guardResponse(err error) []byte {
	if reply, ok := replyError(err); ok {
		if p, err := encodePayload(reply.Response); err == nil && !p.Binary {
			return p.Data
		}
	}
	s.line(zerolog.DebugLevel, "refused by the guard").Err(err).Write()
	return reasonPayload(reasonUnauthorized).Data
}

// handleForGuard runs an EventFunc of a guard. A panic in it ends the channel,
// like a panic in a callback.
func (c *Context) handleForGuard(handle EventFunc, ref wire.Ref, p Payload) {
	reply, err := c.callForGuard(handle, p)
	var crash *callback.PanicError
	switch {
	case errors.As(err, &crash):
		c.Stop(&PanicError{Value: crash.Value, Stack: crash.Stack})
		return
	case err != nil:
		reply = Reply{Status: "error", Response: json.RawMessage(c.socket.guardResponse(err))}
	}
	if err := c.answerReply(ref, reply); err != nil && err != ErrEnded {
		c.failure(err, "reply of a guard cannot be sent").Write()
	}
}

func (c *Context) callForGuard(handle EventFunc, p Payload) (reply Reply, err error) {
	returned := false
	defer func() {
		if !returned && err == nil { // runtime.Goexit: nothing is left to read the error
			c.Stop(&PanicError{Value: "runtime.Goexit in a callback"})
		}
	}()
	defer c.socket.reportGuard(&err)
	defer callback.Recover("EventFunc", &err)
	reply, err = handle(c, p)
	returned = true
	return reply, err
}
