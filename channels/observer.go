package channels

import (
	"errors"
	"hash/maphash"
	"strconv"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// Observer is told what happens on an endpoint: see [Endpoint.Observe]. Its methods are
// called on event loops and by publishers, from several goroutines at a time. They must
// not block and must not call the endpoint.
type Observer interface {
	// Observes reports whether broadcasts to a topic are to be observed.
	Observes(topic string) bool
	// Observe is called for each observation, before a client can see what it is about:
	// the answer to a connect or a join, the end of a channel or the broadcast. The
	// observations of a socket come in order, and so do the broadcasts to a topic, in
	// the order in which clients get them.
	Observe(o Observation)
}

// Observation is something that has happened on an endpoint.
type Observation struct {
	Kind ObservationKind
	// Socket is the client's; nil for a broadcast of the program.
	Socket *Socket
	// Channel is what was joined or left, or has broadcast; nil for connects,
	// disconnects and broadcasts of the program.
	Channel *Context
	// Topic is what was joined, left or broadcast to. Event and Payload are those of a
	// broadcast; the payload is valid until Observe returns.
	Topic, Event string
	Payload      Payload
	// Reason is why a socket or channel has ended, one of the constants below.
	Reason string
	// Code is the WebSocket close code with which the server closed the socket; 0: it
	// has not.
	Code uint16
}

// ObservationKind says what has happened.
type ObservationKind uint8

// The kinds of observations.
const (
	// ObservedConnect: a socket has connected.
	ObservedConnect ObservationKind = iota + 1
	// ObservedDisconnect: a socket has ended. Its channels have ended before.
	ObservedDisconnect
	// ObservedJoin: a join was accepted.
	ObservedJoin
	// ObservedLeave: a channel that had been joined has ended.
	ObservedLeave
	// ObservedBroadcast: an event goes to all who have joined a topic. It is observed on
	// the node where it is broadcast, even if nobody has joined the topic there.
	// What [Endpoint.BroadcastLocal] sends is not observed.
	ObservedBroadcast
)

// Reasons for the end of a socket.
const (
	EndedByClient     = "client"       // the client closed it
	EndedByLoss       = "lost"         // the connection broke, or a session is no longer polled
	EndedByIdleness   = "idle"         // the client was silent for SocketOptions.IdleTimeout
	EndedBySlowness   = "slow"         // the client has read too slowly
	EndedByShutdown   = "shutdown"     // the endpoint shuts down
	EndedByDisconnect = "disconnected" // [Endpoint.Disconnect], or another close with the code 1001
	EndedByServer     = "closed"       // the server closed it for another reason: see Observation.Code
)

// Reasons for the end of a channel.
const (
	LeftByClient   = "left"         // the client left
	LeftWithSocket = "disconnected" // its socket has ended
	LeftByRejoin   = "rejoined"     // the client joined the topic again on the same socket
	LeftByServer   = "stopped"      // [Context.Stop] without an error, or [Audience.Leave]
	LeftOverloaded = "overloaded"   // its mailbox was full
	LeftByCrash    = "crashed"      // a callback crashed, or [Context.Stop] was given an error
)

// Observe makes o the observer of the endpoint from now on; there is one at a time. nil
// removes it, and an endpoint without one pays nothing. A call that has begun may still
// reach the previous observer.
func (e *Endpoint) Observe(o Observer) {
	if o == nil {
		e.observer.Store(nil)
		return
	}
	e.observer.Store(&observed{Observer: o})
}

// observed is an observer, and what keeps the broadcasts of a topic in order.
type observed struct {
	Observer
	order [16]sync.Mutex // by topic; held while a broadcast is observed and sent
}

var orderSeed = maphash.MakeSeed()

// inOrder calls send while no other broadcast to the topic is sent.
func (o *observed) inOrder(topic string, send func() error) error {
	mu := &o.order[maphash.String(orderSeed, topic)%uint64(len(o.order))]
	mu.Lock()
	defer mu.Unlock()
	return send()
}

// observeConnect and the functions below tell the observer, if there is one.
func (s *Socket) observeConnect() {
	if o := s.endpoint.observer.Load(); o != nil {
		o.Observe(Observation{Kind: ObservedConnect, Socket: s})
	}
}

func (s *Socket) observeDisconnect(why error) {
	if o := s.endpoint.observer.Load(); o != nil {
		reason, code := s.endpoint.endOf(why)
		o.Observe(Observation{Kind: ObservedDisconnect, Socket: s, Reason: reason, Code: code})
	}
}

func (c *Context) observeJoin() {
	if o := c.socket.endpoint.observer.Load(); o != nil {
		o.Observe(Observation{Kind: ObservedJoin, Socket: c.socket, Channel: c, Topic: c.topic})
	}
}

func (c *Context) observeLeave(why error) {
	if o := c.socket.endpoint.observer.Load(); o != nil {
		o.Observe(Observation{Kind: ObservedLeave, Socket: c.socket, Channel: c, Topic: c.topic, Reason: leaveOf(why)})
	}
}

// observeBroadcast is [Endpoint.sendBroadcast] with an observer.
func (e *Endpoint) observeBroadcast(o *observed, topic string, b *broadcast, from, by *Context) error {
	seen := Observation{Kind: ObservedBroadcast, Channel: by, Topic: topic, Event: b.Event, Payload: b.Payload}
	if by != nil {
		seen.Socket = by.socket
	}
	return o.inOrder(topic, func() error {
		o.Observe(seen)
		return e.sendBroadcast(topic, b, from)
	})
}

// serverClose is a close by the server as the reason of a socket's end. It is the close
// code, 0 if the client was not sent one.
type serverClose uint16

func (c serverClose) Error() string {
	return "channels: closed by the server with " + strconv.Itoa(int(c))
}

// errIdle is the reason of the end of a socket whose client was silent.
var errIdle = errors.New("channels: idle")

// endOf returns the reason and code of a socket's end for an observer.
func (e *Endpoint) endOf(why error) (reason string, code uint16) {
	var closed serverClose
	switch {
	case errors.Is(why, errClientClosed):
		return EndedByClient, 0
	case errors.Is(why, errIdle):
		return EndedByIdleness, closeProtocolError
	case errors.Is(why, netloop.ErrSlowReceiver):
		return EndedBySlowness, 0
	case !errors.As(why, &closed):
		return EndedByLoss, 0
	case closed == closeRestart || e.isDraining():
		return EndedByShutdown, uint16(closed)
	case closed == closeGoingAway:
		return EndedByDisconnect, uint16(closed)
	}
	return EndedByServer, uint16(closed)
}

// leaveOf returns the reason of a channel's end for an observer.
func leaveOf(why error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{ErrLeft, LeftByClient}, {ErrClosed, LeftWithSocket}, {ErrRejoined, LeftByRejoin}, {ErrStopped, LeftByServer}, {ErrMailboxFull, LeftOverloaded},
	} {
		if errors.Is(why, r.err) {
			return r.reason
		}
	}
	return LeftByCrash
}
