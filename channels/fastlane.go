package channels

import (
	"encoding/binary"
	"errors"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// fastlane is pubsub's dispatcher: it queues the frame of a broadcast, encoded once for
// all sockets with the same key, at the connection of each subscriber without going
// through the channel, unless the channel intercepts the event.
type fastlane struct{ endpoint *Endpoint }

// Dispatch runs on the loop that owns the subscribers.
func (l fastlane) Dispatch(subs []dispatch.Subscriber, from any, m dispatch.Message) {
	b := m.(*broadcast)
	if b.control {
		toListeners(subs, b)
		return
	}
	sender, _ := from.(*Context)
	var sent sending
	sent.frames.Begin(&b.Set, len(subs))
	heard := false // by the program's own subscribers
	for _, sub := range subs {
		switch s := sub.(type) {
		case *channelSubscriber:
			c := (*Context)(s)
			if c == sender || b.historic && c.passesOver(b) || c.intercepted(b) || b.state != nil && c.leavesOut(b) {
				continue
			}
			if f := sent.frames.TakeFrame(c.socket.key); f != nil {
				sent.queue(c.socket, f)
			} else {
				c.socket.transport.undeliverable()
			}
		case *subscription:
			if s.c != sender && !b.mark {
				s.dispatch(b, &sent)
			}
		case *socketSubscription:
			s.dispatch(b, &sent)
		case *listenerSubscriber:
			heard = !b.mark
		}
	}
	sent.finishFanOut()
	if heard { // after the clients, which get the broadcast whatever a receiver does
		toListeners(subs, b)
	}
}

// toListeners calls the program's own subscribers.
func toListeners(subs []dispatch.Subscriber, b *broadcast) {
	callback.Each(subs, func(sub dispatch.Subscriber) {
		if l, ok := sub.(*listenerSubscriber); ok {
			(*Listener)(l).deliver(b)
		}
	})
}

// sending is the fan-out of one broadcast on one loop. It counts what is sent, so that
// the counters of the loop are updated only once.
type sending struct {
	frames          frames.Fanout
	last            *Socket
	messages, bytes int64
}

// queue sends a frame that was taken for a socket.
func (n *sending) queue(s *Socket, f *netloop.Frame) {
	n.last = s
	n.messages++
	n.bytes += int64(len(f.Bytes()))
	s.queue(f)
}

// finishFanOut ends the fan-out.
func (n *sending) finishFanOut() {
	n.frames.Done()
	if n.last != nil {
		n.last.perLoop().traffic.sent(n.messages, n.bytes)
	}
}

// intercepted hands the event to the channel's own handler, if it has one.
func (c *Context) intercepted(b *broadcast) bool {
	if !c.def.intercepts(b.Event) {
		return false
	}
	c.enqueueBroadcast(item{kind: itemOut, out: b, payload: b.Payload})
	return true
}

// enqueueBroadcast puts a broadcast into the mailbox, with a reference of its own.
func (c *Context) enqueueBroadcast(it item) {
	it.out.Retain(1)
	if err := c.enqueue(it); err != nil {
		it.out.Release()
		if err == ErrMailboxFull {
			c.missedBroadcast()
		}
	}
}

// missedBroadcast ends a channel that would otherwise miss a broadcast
// unnoticed.
func (c *Context) missedBroadcast() {
	c.endChannel(ErrMailboxFull)
	c.socket.loop.Post((*mailboxOverrun)(c)) // a subscriber must not unsubscribe during a dispatch
}

// codec writes broadcasts for other nodes: the event's size (uvarint), the
// event, one byte (1 for bytes, 0 for JSON), the payload.
type codec struct{}

var errBusMessage = errors.New("channels: a message of another node is cut short")

func (codec) Encode(_ string, m dispatch.Message) []byte {
	b := m.(*broadcast)
	data := make([]byte, 0, len(b.Event)+len(b.Payload.Data)+binary.MaxVarintLen32+1)
	data = binary.AppendUvarint(data, uint64(len(b.Event)))
	data = append(data, b.Event...)
	if b.Payload.Binary {
		data = append(data, 1)
	} else {
		data = append(data, 0)
	}
	return append(data, b.Payload.Data...)
}

func (codec) Decode(topic string, data []byte) (dispatch.Message, error) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n >= uint64(len(data)-used) {
		return nil, errBusMessage
	}
	event, rest := string(data[used:used+int(n)]), data[used+int(n):]
	return newBroadcast(topic, event, Payload{Data: rest[1:], Binary: rest[0] == 1})
}
