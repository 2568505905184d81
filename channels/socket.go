package channels

import (
	"errors"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/share"
	"github.com/mycelium-rt/mycelium/wire"
)

// Socket is a connected client. SocketOptions.Connect may give it an id, values
// and a guard; after that it does not change, and its methods may be called
// from any goroutine.
type Socket struct {
	// Static after the connect.
	endpoint  *Endpoint
	mount     *mount // path, options and channels
	transport transport
	loop      *netloop.Lane    // the endpoint's part of the loop that has the connection
	identity  *identity        // nil without an id, assigns and a guard
	session   *history.Session // nil: the client has none
	network   share.Network    // of the client's address
	key       frames.Key       // how messages become what the transport sends

	// Owned by the loop.
	end      socketEnd
	place    int32 // index in the loop's list of sockets; before that 0, or connecting
	overhead overhead
	rates    rates
	channels channelTable
}

// socketEnd is the progress of a socket's end. It takes one byte of the 144 of
// a connection.
type socketEnd uint8

const (
	socketOpen     socketEnd = iota
	socketAnswered           // open; a probe was answered, and its client's next message confirms it: see Socket.answered
	socketLeaving            // being closed: nothing more is sent
	socketClosed
)

func (s *Socket) closed() bool { return s.end == socketClosed }

// isOpen reports whether the socket is not being closed.
func (s *Socket) isOpen() bool { return s.end < socketLeaving }

// connecting is the place of a socket while Connect runs. Only then may it be
// given an id, assigns and a guard.
const connecting = -1

// transport is the connection of a socket. All methods are called on the
// socket's loop.
type transport interface {
	// send queues a frame and takes over one reference to it.
	send(f *netloop.Frame)
	// close sends a Close frame, where the transport has one, and ends the
	// connection. It may call Socket.shutdown before it returns.
	close(code uint16, reason string)
	// drop ends the connection without a Close frame.
	drop()
	// settle notes that the client has joined a channel.
	settle()
	// hold stops reading from the client until resume, which is given what the
	// transport has put into hold.unread meanwhile.
	hold()
	resume(unread []byte)
	// lags reports whether what waits reaches Limits.OutboundBytes divided by
	// part.
	lags(part int) bool
	// notifyDrained has Socket.drained called, but not at once, when
	// lags(lagOfRenewals) is false.
	notifyDrained()
	// undeliverable notes a message that could not be encoded for the transport. Any
	// goroutine may call it.
	undeliverable()
	// probe has Socket.answered called with p when everything that was sent before has
	// reached the client, or Socket.confirmed if its program has received it.
	probe(p probe)
	// name returns "websocket", "longpoll" or "tcp".
	name() string
}

// ID returns the id of the socket, or "" if it has none. See
// [Endpoint.Disconnect].
func (s *Socket) ID() string {
	if s.identity == nil {
		return ""
	}
	return s.identity.id
}

// SetID sets the id of the socket (Phoenix's id/1), for example
// "users_socket:42". It panics outside of SocketOptions.Connect.
func (s *Socket) SetID(id string) {
	s.mustConnect("SetID")
	s.identify().id = id
}

// Assign stores a value that all channels of the socket get with [Context.Get].
// It panics outside of SocketOptions.Connect. A [Key] does the same with a
// type.
func (s *Socket) Assign(key string, value any) { s.assign(key, value) }

func (s *Socket) assign(key, value any) {
	s.mustConnect("Assign")
	s.identify().assigns.set(key, value)
}

// Get returns the value that was assigned, or nil.
func (s *Socket) Get(key string) any {
	value, _ := s.lookup(key)
	return value
}

func (s *Socket) lookup(key any) (value any, ok bool) {
	if s.identity == nil {
		return nil, false
	}
	return s.identity.assigns.get(key)
}

// Client returns a name for the user of the socket, for limits that clients
// share: the one that its guard knows (see [ClientGuard]), or else its address,
// an IPv6 address without its last 64 bits. It returns "" for addresses of this
// machine and of private networks, which may be a proxy's, unless
// Options.TrustedProxies is set.
func (s *Socket) Client() string {
	if g, ok := s.Guard().(ClientGuard); ok {
		if name := g.Client(); name != "" {
			return "user " + name
		}
	}
	return s.network.String()
}

// Endpoint returns the endpoint that the socket is connected to.
func (s *Socket) Endpoint() *Endpoint { return s.endpoint }

// Transport returns "websocket", "longpoll" or "tcp".
func (s *Socket) Transport() string { return s.transport.name() }

func (s *Socket) mustConnect(what string) {
	if s.place != connecting {
		panic("channels: Socket." + what + " is possible in SocketOptions.Connect only")
	}
}

// open makes a connected socket known to its loop, its session and the
// application.
func (s *Socket) open() {
	l := s.perLoop()
	s.place = int32(len(l.sockets))
	l.sockets = append(l.sockets, s)
	if s.ID() != "" {
		l.ids.add(s)
	}
	l.directory.add(s)
	s.connectSession()
	s.endpoint.counters.addSockets(s.key.Framing, 1)
	s.endpoint.counters.opened.Add(1)
	s.observeConnect()
	if g := s.Guard(); g != nil {
		defer s.callHook("Guard.Opened", func(*Socket) { g.Opened() })
	}
	s.callHook("Opened", s.mount.options.Opened)
}

// callHook calls a hook of the application for the socket's start or end. A
// panic in it ends nothing. Work that follows in the caller must be deferred:
// see internal/callback.
func (s *Socket) callHook(what string, f func(*Socket)) {
	if f != nil {
		s.endpoint.reportPanic(s.call(what, f))
	}
}

func (s *Socket) call(what string, f func(*Socket)) (err error) {
	defer callback.Recover(what, &err)
	f(s)
	return nil
}

// perLoop returns the endpoint's state on the socket's loop. Only that loop may
// call it.
func (s *Socket) perLoop() *perLoop { return &s.endpoint.perLoop[s.loop.Index()] }

// send queues a frame for the client and takes over one reference to it.
func (s *Socket) send(f *netloop.Frame) {
	s.perLoop().traffic.sent(1, int64(f.Size()))
	s.queue(f)
}

// queue is send for callers that count by themselves what is sent.
func (s *Socket) queue(f *netloop.Frame) {
	if s.end == socketLeaving {
		f.Release()
		return
	}
	s.transport.send(f)
}

// shrinkAbove is the number of sockets above which a loop's list of them gives
// memory back. It is halved when a quarter is in use, so that its cost per
// socket stays constant.
const shrinkAbove = 1024

// shutdown ends all channels of a socket whose connection ends. why is the
// reason of that. It may be called more than once.
func (s *Socket) shutdown(why error) {
	if s.closed() {
		return
	}
	s.disconnectSession()
	s.end = socketClosed
	l := s.perLoop()
	last := len(l.sockets) - 1
	l.sockets[s.place] = l.sockets[last]
	l.sockets[s.place].place = s.place
	l.sockets[last] = nil
	l.sockets = l.sockets[:last]
	if size := cap(l.sockets); size > shrinkAbove && last <= size/4 {
		l.sockets = append(make([]*Socket, 0, size/2), l.sockets...)
	}
	if s.ID() != "" {
		l.ids.remove(s)
	}
	l.directory.remove(s)
	s.forgetHold()
	delete(l.renewals, s)
	// Deferred in reverse order: channels with OnLoop run their last callbacks
	// in kill, before these.
	if g := s.Guard(); g != nil {
		defer s.callHook("Guard.Closed", func(*Socket) { g.Closed() })
	}
	defer s.callHook("Closed", s.mount.options.Closed)
	defer s.observeDisconnect(why)
	defer s.endpoint.counters.addSockets(s.key.Framing, -1)
	all := s.channels.all()
	s.channels = channelTable{}
	callback.Each(all, func(c *Context) { c.kill(ErrClosed) })
}

// handleMessage handles one message from the client. data may be modified and
// is used until it returns. An error closes the socket with 1011.
func (s *Socket) handleMessage(binary bool, data []byte) error {
	l := s.perLoop()
	l.traffic.bytesIn.Add(int64(len(data)))
	if s.end == socketAnswered {
		s.confirmAnswer()
	}
	m := &l.message
	if err := s.key.Encoding.Serializer().Decode(data, binary, m); err != nil {
		if errors.Is(err, wire.ErrIgnored) {
			return nil
		}
		return err
	}
	s.endpoint.counters.messagesIn.Add(1)
	s.dispatch(m)
	return nil
}

// dispatch counts and handles a message that has just come.
func (s *Socket) dispatch(m *wire.Message) {
	event := protocolEvent(m.Event)
	switch {
	case event == "heartbeat" && string(m.Topic) == "phoenix":
		s.handleHeartbeat(m)
	case !s.allowed(m, event):
	default:
		s.handleIn(m, event)
	}
}

// handleIn follows Phoenix.Socket's handle_in clause by clause
// (lib/phoenix/socket.ex), for messages other than heartbeats.
func (s *Socket) handleIn(m *wire.Message, event string) {
	var c *Context
	if m.TopicIsString {
		c = s.channels.find(m.Topic)
	}
	switch {
	case c != nil && c.life.view == joining:
		s.keepForLater(c, m)
	case event == "phx_join":
		s.handleJoin(c, m)
	case c == nil && event == "phx_leave":
		s.countOverhead() // the rates do not limit leaves
		s.sendMessageReply(m.JoinRef, m, "ok", emptyObject)
	case c == nil:
		s.sendMessageReply(nil, m, "error", reasonPayload(reasonUnmatched).Data)
	case m.JoinRef != nil && !m.JoinRef.Equal(c.joinRefWire()):
		// A message for an earlier join of the topic: Phoenix is silent.
	case event == "phx_leave":
		s.handleLeave(c, m)
	default:
		s.handleEvent(c, m)
	}
}

// protocolEvent returns the event if the socket itself handles it, else "". It
// does not allocate.
func protocolEvent(event []byte) string {
	switch string(event) {
	case "heartbeat":
		return "heartbeat"
	case "phx_join":
		return "phx_join"
	case "phx_leave":
		return "phx_leave"
	}
	return ""
}

func (s *Socket) handleHeartbeat(m *wire.Message) {
	s.countOverhead()
	s.sendMessageReply(nil, m, "ok", emptyObject)
}

// handleJoin starts a join. An earlier join of the same topic ends, and pushes that
// its channel has not handled are not answered, as in Phoenix
// (shutdown_duplicate_channel in lib/phoenix/socket.ex). Its phx_close follows the
// reply of the new join, because phoenix.js only accepts frames with the current
// join_ref.
func (s *Socket) handleJoin(old *Context, m *wire.Message) {
	def := s.mount.router.match(m.Topic)
	if def == nil || !m.TopicIsString {
		s.refuseJoin(nil, m, reasonUnmatched)
		return
	}
	if len(m.Topic)+len(m.JoinRef)+len(m.Ref) > joinNameBytes {
		s.refuseJoin(m.JoinRef, m, reasonLongTopic)
		return
	}
	if old == nil && s.channels.len() >= s.mount.limits.MaxChannels {
		s.refuseJoin(m.JoinRef, m, reasonTooMany)
		return
	}
	if old == nil && s.keepsTooMuch() {
		s.refuseJoin(m.JoinRef, m, reasonKeepsTooMuch)
		return
	}
	if g := s.Guard(); g != nil && s.joinRefused(g, old, m) {
		return
	}
	def = s.mount.outer.wrap(def, m.Topic)
	scope, ok := def.scopeOf(s.endpoint, m.Payload)
	if !ok {
		s.refuseJoin(m.JoinRef, m, reasonJoinCrashed)
		return
	}
	var wait <-chan struct{}
	if old != nil {
		s.channels.remove(old)
		wait = old.kill(ErrRejoined)
	}
	c := &Context{socket: s, def: def, joinRef: m.JoinRef.Clone(), nullRef: m.JoinRef == nil}
	c.enterTopic(m, scope)
	c.pending = newPendingJoin(c, m.Ref.Clone(), old)
	c.pending.catchUp = s.newCatchUp(def, c.topic, m.Payload)
	if c.nullRef {
		c.joinRef = m.Ref.Clone()
	}
	s.channels.add(c)
	c.startJoin(m.Payload, wait)
}

// refuseJoin answers a join that the socket itself refuses.
func (s *Socket) refuseJoin(joinRef wire.Ref, m *wire.Message, reason string) {
	s.logRefusedJoin(m.Topic, reason)
	s.sendMessageReply(joinRef, m, "error", reasonPayload(reason).Data)
}

// handleLeave lets the channel answer, after all messages that wait for it.
func (s *Socket) handleLeave(c *Context, m *wire.Message) {
	c.enqueue(item{kind: itemLeave, ref: m.Ref.Clone()}) //nolint:errcheck // fails only if the channel is ending anyway
}

// handleEvent passes an event to its channel.
func (s *Socket) handleEvent(c *Context, m *wire.Message) {
	if !m.EventIsString {
		c.enqueue(item{kind: itemCrash}) //nolint:errcheck // it is ending anyway
		return
	}
	if g := s.Guard(); g != nil && s.guardTakes(g, c, m) {
		return
	}
	if c.def.onLoop && c.handleNow(m) {
		return
	}
	c.enqueue(eventItem(m)) //nolint:errcheck // as above
}

// keepForLater keeps a message for a topic whose join is not answered yet. In
// Phoenix a join blocks the whole socket; here it blocks its topic, and the
// socket only if more has come for the topic than a mailbox holds.
func (s *Socket) keepForLater(c *Context, m *wire.Message) {
	if full := c.pending.keepForLater(m, s.mount.limits); full && !c.pending.stalled {
		c.pending.stalled = true
		s.stall(c)
	}
}

// identity is what Connect has found out about the client.
type identity struct {
	// Static after the connect.
	id      string
	guard   Guard // nil: everything is permitted
	assigns assigns

	// For perLoop.ids: the other sockets with the same id. Owned by the loop.
	next, prev *Socket
}

func (s *Socket) identify() *identity {
	if s.identity == nil {
		s.identity = new(identity)
	}
	return s.identity
}

// Close codes: RFC 6455 section 7.4.1 and the IANA registry.
const (
	closeNormal        = 1000
	closeGoingAway     = 1001
	closeProtocolError = 1002
	closeInternalError = 1011
	closeRestart       = 1012
)
