package channels

import (
	"encoding/binary"
	"errors"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/wire"
)

// fastlane is pubsub's dispatcher: it hands the frame of a broadcast, encoded
// once, to the connection of each subscriber without a stop at the channel,
// unless the channel intercepts the event.
type fastlane struct{ endpoint *Endpoint }

// Dispatch runs on the loop that owns the subscribers.
func (l fastlane) Dispatch(subs []pubsub.Subscriber, from any, m pubsub.Message) {
	b := m.(*broadcast)
	if b.control {
		toListeners(subs, b)
		return
	}
	sender, _ := from.(*Context)
	// One atomic addition instead of one a subscriber; the rest goes back.
	spare := int32(len(subs))
	b.v2.Retain(spare)
	var sent sending
	heard := false // by the program's own subscribers
	for _, sub := range subs {
		switch s := sub.(type) {
		case *channelSubscriber:
			c := (*Context)(s)
			if c == sender || c.intercepted(b) || b.state != nil && c.leavesOut(b) {
				continue
			}
			if c.socket.version == wire.V2 && c.socket.deflate == websocket.NoDeflate {
				spare--
				sent.queue(c.socket, b.v2)
			} else if f := b.frameFor(c.socket); f != nil {
				f.Retain(1)
				sent.queue(c.socket, f)
			}
		case *subscription:
			if s.c != sender {
				s.dispatch(b, &sent)
			}
		case *listenerSubscriber:
			heard = true
		}
	}
	b.v2.Retain(-spare)
	sent.count()
	if heard { // behind the clients, who get theirs whatever a receiver does
		toListeners(subs, b)
	}
}

// toListeners calls the program's own subscribers.
func toListeners(subs []pubsub.Subscriber, b *broadcast) {
	callback.Each(subs, func(sub pubsub.Subscriber) {
		if l, ok := sub.(*listenerSubscriber); ok {
			(*Listener)(l).deliver(b)
		}
	})
}

// sending counts what one dispatch sends, to be added up once.
type sending struct {
	last            *Socket
	messages, bytes int64
}

func (n *sending) queue(s *Socket, f *netloop.Frame) {
	n.last = s
	n.messages++
	n.bytes += int64(len(f.Bytes()))
	s.queue(f)
}

func (n *sending) count() {
	if n.last != nil {
		n.last.perLoop().traffic.sent(n.messages, n.bytes)
	}
}

// intercepted hands the event to the channel's own handler, if it has one.
func (c *Context) intercepted(b *broadcast) bool {
	if !c.def.intercepts(b.event) {
		return false
	}
	c.enqueueBroadcast(item{kind: itemOut, out: b, payload: b.payload})
	return true
}

// enqueueBroadcast puts a broadcast into the mailbox, with a reference of its own.
func (c *Context) enqueueBroadcast(it item) {
	it.out.Retain(1)
	if err := c.enqueue(it); err != nil {
		it.out.Release()
		if err == ErrMailboxFull {
			c.missed()
		}
	}
}

// missed ends a channel that would miss a broadcast and not know it.
func (c *Context) missed() {
	c.end(ErrMailboxFull)
	c.socket.loop.Post((*mailboxOverrun)(c)) // a subscriber must not unsubscribe while it is delivered to
}

// codec writes broadcasts for other nodes: the event's size (uvarint), the
// event, one byte (1 for bytes, 0 for JSON), the payload.
type codec struct{}

var errBusMessage = errors.New("channels: a message of another node is cut short")

func (codec) Encode(_ string, m pubsub.Message) []byte {
	b := m.(*broadcast)
	data := make([]byte, 0, len(b.event)+len(b.payload.Data)+binary.MaxVarintLen32+1)
	data = binary.AppendUvarint(data, uint64(len(b.event)))
	data = append(data, b.event...)
	if b.payload.Binary {
		data = append(data, 1)
	} else {
		data = append(data, 0)
	}
	return append(data, b.payload.Data...)
}

func (codec) Decode(topic string, data []byte) (pubsub.Message, error) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n >= uint64(len(data)-used) {
		return nil, errBusMessage
	}
	event, rest := string(data[used:used+int(n)]), data[used+int(n):]
	return newBroadcast(topic, event, Payload{Data: rest[1:], Binary: rest[0] == 1})
}
