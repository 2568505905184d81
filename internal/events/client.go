package events

import (
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/wire"
)

// client is a connected client as a stream knows it. Guarded by Stream.mu.
type client struct {
	number uint64
	since  int64    // when it connected, in milliseconds since 1970; 0: before the stream began
	head   string   // the JSON members about it in each of its events, each with a comma before it
	topics []string // topics that it has joined since the stream began
}

// present is a presence that this node's clients have tracked. Guarded by Stream.mu.
type present struct{ topic, key, meta string }

// clientOf returns the client of a socket. mu is held.
func (s *Stream) clientOf(socket *channels.Socket) *client {
	c := s.clients[socket]
	if c == nil {
		s.lastClient++
		c = &client{number: s.lastClient}
		c.head = s.headOf(socket, c.number)
		s.clients[socket] = c
	}
	return c
}

func (s *Stream) headOf(socket *channels.Socket, number uint64) string {
	head := append([]byte(`,"client":"`), s.run...)
	head = append(strconv.AppendUint(append(head, '.'), number, 10), `","transport":`...)
	head = wire.AppendString(head, socket.Transport())
	if id := socket.ID(); id != "" {
		head = wire.AppendString(append(head, `,"socket_id":`...), id)
	}
	if g, ok := socket.Guard().(channels.ClientGuard); ok {
		if user := g.Client(); user != "" {
			head = wire.AppendString(append(head, `,"user":`...), user)
		}
	}
	return string(head)
}

// drop removes a topic from c.topics. It returns false if the client joined it before the
// stream began.
func (c *client) drop(topic string) bool {
	for i, t := range c.topics {
		if t == topic {
			last := len(c.topics) - 1
			c.topics[i] = c.topics[last]
			c.topics[last] = ""
			c.topics = c.topics[:last]
			return true
		}
	}
	return false
}

// lasted returns how long the client has been connected, in milliseconds, -1 if that is
// not known.
func (c *client) lasted(now int64) int64 {
	if c.since == 0 {
		return -1
	}
	return max(0, now-c.since)
}

func timeOf(milliseconds int64) time.Time { return time.UnixMilli(milliseconds).UTC() }
