package channels

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// Target names sockets of an endpoint. Exactly one of its fields must be set.
type Target struct {
	// User selects the sockets of a user: those whose [ClientGuard] returns this
	// name. With package auth, that is the claim sub of their tokens.
	User string `json:"user,omitempty"`
	// SocketID selects the sockets with an id that SocketOptions.Connect has
	// given them.
	SocketID string `json:"socket_id,omitempty"`
	// Socket selects one socket, by SocketInfo.Socket.
	Socket string `json:"socket,omitempty"`
}

// ErrTarget is returned for a [Target] of which not exactly one field is set.
var ErrTarget = errors.New("channels: a target must have one of user, socket id and socket")

func (t Target) check() error {
	set := 0
	for _, s := range []string{t.User, t.SocketID, t.Socket} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return ErrTarget
	}
	return nil
}

// Audience is the sockets that a [Target] selects, on this node and on the other nodes of
// the bus, at the time of each call. Its methods do not wait: what they do happens on the
// event loops, in the order of the calls, after they have returned. They return
// [ErrTarget], [ErrOverloaded] if other nodes are not reached, or an error of the
// payload. It is not an error if the target selects no socket.
type Audience struct {
	endpoint *Endpoint
	target   Target
}

// To returns the audience of a target.
func (e *Endpoint) To(t Target) Audience { return Audience{e, t} }

// Push sends an event on a topic to the sockets, and to nobody else. A client that
// has joined the topic gets it as a push of that channel. Others get a message
// without a join_ref, as [Context.PushTo] sends it: phoenix.js gives it to
// Socket.onMessage, and to a Channel of that topic that it has not joined
// (assets/js/phoenix/socket.js, onConnMessage). The payload is that of
// [Context.Push]. Push returns ErrOverloaded too if the endpoint is overloaded:
// then nothing is sent.
func (a Audience) Push(topic, event string, payload any) error {
	if err := a.endpoint.calm(); err != nil {
		return err
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	if err := checkPush(topic, event, p); err != nil {
		return err
	}
	return a.order(order{Do: orderPush, Topic: topic, Event: event, Payload: p.Data, Binary: p.Binary})
}

// checkPush returns an error if no client can be sent the event.
func checkPush(topic, event string, p Payload) error {
	if !p.Binary && !wire.IsObject(p.Data) {
		return ErrNotObject
	}
	f, err := frames.Key{}.Broadcast(topic, event, p)
	if err == nil {
		f.Release()
	}
	return err
}

// Leave makes the sockets leave a topic: their clients get phx_close, after which
// they do not join again by themselves, and the topic is no longer one that
// [Audience.Subscribe] has subscribed them to. The clients may join again, unless
// their guards refuse it.
func (a Audience) Leave(topic string) error { return a.order(order{Do: orderLeave, Topic: topic}) }

// Subscribe subscribes the sockets to a topic, until they close or are
// unsubscribed: their clients get its broadcasts without having asked. A client
// that has joined the topic gets each broadcast once. Others get messages of a
// topic that they have not joined: see [Audience.Push]. They get neither
// presences nor what was recorded. A socket has at most Limits.TopicsPerChannel
// of such topics; further ones are logged and not subscribed to.
func (a Audience) Subscribe(topic string) error {
	return a.order(order{Do: orderSubscribe, Topic: topic})
}

// Unsubscribe ends what [Audience.Subscribe] has begun.
func (a Audience) Unsubscribe(topic string) error {
	return a.order(order{Do: orderUnsubscribe, Topic: topic})
}

// Disconnect closes the sockets. With reconnect, their clients come back by
// themselves: the close code is 1001. Otherwise it is 1000, after which phoenix.js
// 1.6.0 to 1.8.0 does not reconnect (assets/js/phoenix/socket.js, onConnClose), but
// later versions and sessions of long polling do: a client that must stay out needs a
// guard that refuses it.
func (a Audience) Disconnect(reconnect bool) error {
	return a.order(order{Do: orderDisconnect, Final: !reconnect})
}

// order is a call of one of the methods of an Audience, on its way to the loops of all
// nodes.
type order struct {
	Do      orderKind       `json:"do"`
	Target  Target          `json:"target"`
	Topic   string          `json:"topic,omitempty"`
	Event   string          `json:"event,omitempty"`
	Payload []byte          `json:"-"`
	Data    json.RawMessage `json:"data,omitempty"`  // Payload, if it is JSON
	Bytes   []byte          `json:"bytes,omitempty"` // Payload, if it is not
	Binary  bool            `json:"binary,omitempty"`
	Final   bool            `json:"final,omitempty"`
}

type orderKind string

const (
	orderPush        orderKind = "push"
	orderLeave       orderKind = "leave"
	orderSubscribe   orderKind = "subscribe"
	orderUnsubscribe orderKind = "unsubscribe"
	orderDisconnect  orderKind = "disconnect"
)

// order has the loops of all nodes carry out an order.
func (a Audience) order(o order) error {
	if err := a.target.check(); err != nil {
		return err
	}
	o.Target = a.target
	a.endpoint.orderHere(&o)
	text, err := o.encode()
	if err != nil {
		return fmt.Errorf("channels: encoding a message to other nodes: %w", err)
	}
	return a.endpoint.sent(a.endpoint.pubsub.SendControl(text))
}

// controlOrder begins the message by which a node gives the others an order, which
// follows as JSON.
const controlOrder = "order "

func (o *order) encode() ([]byte, error) {
	send := *o
	if o.Binary {
		send.Bytes = o.Payload
	} else {
		send.Data = o.Payload
	}
	text, err := json.Marshal(&send)
	return append([]byte(controlOrder), text...), err
}

func decodeOrder(text []byte) (*order, error) {
	o := new(order)
	if err := json.Unmarshal(text, o); err != nil {
		return nil, err
	}
	if o.Payload = o.Data; o.Binary {
		o.Payload = o.Bytes
	}
	return o, o.Target.check()
}

// orderHere has the loops of this node carry out an order.
func (e *Endpoint) orderHere(o *order) {
	for i, lane := range e.tenant.Lanes() {
		done := func() {}
		if o.Do == orderSubscribe { // what is broadcast from now on must not miss the sockets
			e.pubsub.Announce(i, o.Topic)
			done = func() { e.pubsub.Withdraw(i, o.Topic) }
		}
		task := netloop.TaskFunc(func() {
			defer done()
			for _, s := range e.perLoop[i].find(&o.Target) {
				o.carryOut(s)
			}
		})
		if !lane.Post(task) {
			done()
		}
	}
}

// carryOut does what the order says to a socket, on its loop.
func (o *order) carryOut(s *Socket) {
	if !s.isOpen() {
		return
	}
	switch o.Do {
	case orderPush:
		s.pushOrder(o)
	case orderLeave:
		s.unsubscribe(o.Topic)
		for _, c := range s.channels.all() {
			if c.topic == o.Topic {
				c.Stop(nil)
			}
		}
	case orderSubscribe:
		s.subscribe(o.Topic)
	case orderUnsubscribe:
		s.unsubscribe(o.Topic)
	case orderDisconnect:
		if o.Final {
			s.closeNow(closeNormal, "")
		} else {
			s.closeNow(closeGoingAway, "")
		}
	}
}

// pushOrder sends the event of an order, to the channel that has joined the topic if
// there is one.
func (s *Socket) pushOrder(o *order) {
	p := Payload{Data: o.Payload, Binary: o.Binary}
	for _, c := range s.channels.all() {
		if c.topic != o.Topic {
			continue
		}
		f, err := s.key.Push(c.joinRef, c.clientTopic(), o.Event, p)
		if s.encoded(err) {
			newDelivery(delivery{c: c, f: f}).Run()
		}
		return
	}
	if f, err := s.key.Broadcast(o.Topic, o.Event, p); s.encoded(err) {
		s.send(f)
	}
}

// encoded reports whether a message could be encoded for the socket. If not, it logs or
// counts that.
func (s *Socket) encoded(err error) bool {
	if failed := s.notPushed(err); failed != nil {
		s.line(zerolog.DebugLevel, "push not sent").Err(failed).Write()
	}
	return err == nil
}

// CloseIf closes the sockets of this node for which f returns true, with a WebSocket close
// code and a reason. f is called on the event loops and must not block. CloseIf does not
// wait: sockets that open meanwhile are not looked at.
func (e *Endpoint) CloseIf(code uint16, reason string, f func(*Socket) bool) {
	for i, lane := range e.tenant.Lanes() {
		scan := &closeScan{endpoint: e, loop: i, code: code, reason: reason, f: f, rest: -1}
		lane.Post(scan)
	}
}

// closeScan looks at the sockets of a loop, some in each turn. It goes backwards: the
// place of a socket that closes is taken by the last one, which was looked at before.
type closeScan struct {
	endpoint *Endpoint
	loop     int
	code     uint16
	reason   string
	f        func(*Socket) bool
	rest     int // sockets that are not looked at yet; -1: all
}

// scanTurn is how many sockets a scan looks at in one turn.
const scanTurn = 1000

// Run is for the loop.
func (c *closeScan) Run() {
	l := &c.endpoint.perLoop[c.loop]
	if c.rest < 0 || c.rest > len(l.sockets) {
		c.rest = len(l.sockets)
	}
	turn := l.sockets[max(0, c.rest-scanTurn):c.rest]
	c.rest -= len(turn)
	for _, s := range slices.Clone(turn) { // closing changes the list
		closes, err := c.call(s)
		c.endpoint.reportPanic(err)
		if closes {
			s.closeNow(c.code, c.reason)
		}
	}
	if c.rest > 0 {
		c.endpoint.tenant.Lanes()[c.loop].Post(c)
	}
}

func (c *closeScan) call(s *Socket) (closes bool, err error) {
	defer callback.Recover("CloseIf", &err)
	return c.f(s), nil
}
