package channels

import (
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/wire"
)

// maxScope bounds a scope in bytes.
const maxScope = 64

// Scope registers a function that returns the scope of each join, so that
// channels with the same topic but different scopes are separate, such as the
// public and the private channel of one name. It is given the payload of the join,
// which is valid until it returns; it runs on the event loop before the join
// callback, and must not block. An empty scope means none. If scope panics, or returns
// more than 64 bytes, the join is refused with {"reason":"join crashed"}.
//
// Within the server, the topic of a channel with a scope is the scope followed by
// the topic that the client has joined: that is what [Context.Topic] returns,
// what broadcasts go to, and where presences are tracked. The client never
// learns of the scope: pushes and replies have the topic without it. A broadcast
// is encoded once for all sockets, so the serializer of SocketOptions.Dialect must
// remove the scope in AppendBroadcast, as that of [wire.Realtime] does.
func (ch *Channel) Scope(scope func(params Payload) string) {
	ch.mustChange("Scope", "")
	if ch.scope != nil {
		panic(fmt.Sprintf("channels: %q has two Scope functions", ch.pattern))
	}
	ch.scope = scope
}

// enterTopic sets the topic of a channel that m wants to join.
func (c *Context) enterTopic(m *wire.Message, scope string) {
	topic := m.Topic
	if scope != "" {
		c.scoped = uint8(len(scope))
		topic = append([]byte(scope), topic...)
	}
	c.topic = c.socket.endpoint.pubsub.Topic(c.socket.loop.Index(), topic)
}

// scopeOf returns the scope of a join. ok is false if the function panics: such a join
// must be refused, not be admitted to some other scope.
func (ch *Channel) scopeOf(e *Endpoint, params Payload) (scope string, ok bool) {
	if ch.scope == nil {
		return "", true
	}
	scope, err := ch.askScope(params)
	return scope, !e.reportPanic(err)
}

func (ch *Channel) askScope(params Payload) (scope string, err error) {
	defer callback.Recover("Scope", &err)
	scope = ch.scope(params)
	if len(scope) > maxScope {
		panic(fmt.Sprintf("channels: a scope of %d bytes, more than %d", len(scope), maxScope))
	}
	return scope, nil
}
