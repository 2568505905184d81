package channels

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// Context is a joined channel: one client on one topic. Callbacks are called
// with it, and programs may keep it. Its methods may be called from any
// goroutine unless they say otherwise; after the channel has ended they return
// [ErrEnded].
//
// A Context is a [context.Context] that is canceled when the channel ends, with
// the reason as its cause.
type Context struct {
	// Static after construction.
	socket  *Socket
	def     *Channel
	topic   string
	joinRef wire.Ref // join_ref of pushes and replies: the join's, else its ref
	nullRef bool     // the join had no join_ref: phx_close and phx_error carry null

	// Owned by the loop, placed here to save space.
	stateDue bool // a presence_state is due, diffs are left out
	history  historyFlags

	scoped uint8 // static, placed here to save space: bytes of the topic that are the scope, which the client does not know

	kept atomic.Int32 // bytes counted by Keep; placed here to save space

	// Owned by the socket's loop.
	sub     dispatch.Subscription
	pending *pendingJoin // nil after the join has been answered

	// Owned by whoever runs callbacks.
	call *item // the message being handled

	life life // its fields say who owns them

	// Guarded by life.mu.
	box    *mailbox // nil while nothing waits
	extras *extras  // nil until something in it is used
}

// extras are parts that many joined channels never use. They are kept small,
// because every channel with a presence has them for onEnd.
type extras struct {
	assigns assigns
	onEnd   hook
	derived *derived      // nil until it is needed
	rare    *rare         // nil until something in it is used
	over    chan struct{} // closed when the last callback has returned; nil until somebody waits for it
}

// rare are parts that few channels use.
type rare struct {
	timers        *timers         // nil until SendAfter, and after the end
	subscriptions []*subscription // to further topics
	sender        uint64          // what identifies the client in history; 0: nothing
	unstored      *unstored       // broadcasts of the handler that runs; nil: no handler runs, or none of them is stored
}

// hook is a list of functions; the zero value is empty.
type hook struct {
	f    func()
	next *hook
}

// derived is the channel as a context of package context.
type derived struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

var _ context.Context = (*Context)(nil)

// Topic returns the topic that the client has joined, within the scope that
// [Channel.Scope] gave it.
func (c *Context) Topic() string { return c.topic }

// clientTopic returns the topic as the client knows it.
func (c *Context) clientTopic() string { return c.topic[c.scoped:] }

// Pattern returns the pattern of the channel, as it was given to [Handle].
func (c *Context) Pattern() string { return c.def.pattern.String() }

// Subtopic returns the part of the topic that matches the * of the pattern: "1"
// for topic "room:1" and pattern "room:*". For an exact pattern it returns the
// whole topic.
func (c *Context) Subtopic() string { return c.def.pattern.Rest(c.clientTopic()) }

// Socket returns the connection on which the client joined.
func (c *Context) Socket() *Socket { return c.socket }

// Endpoint returns the endpoint of the socket, for broadcasts to other topics.
func (c *Context) Endpoint() *Endpoint { return c.socket.endpoint }

// JoinRef returns the join_ref of the channel's pushes and replies, as JSON. It
// is the join_ref of the join or else its ref, and nil if both were null. It
// must not be modified.
func (c *Context) JoinRef() json.RawMessage { return json.RawMessage(c.joinRef) }

// Event returns the event that is being handled, "phx_join" in a join. It
// returns "" outside of a handler. It may be called only from callbacks.
func (c *Context) Event() string {
	if c.call == nil {
		return ""
	}
	return c.call.event
}

// Ref returns the message that is being handled, to be answered after its
// handler has returned (Phoenix's socket_ref). It returns the zero Ref if the
// client expects no answer. It may be called only from callbacks.
func (c *Context) Ref() Ref {
	if c.call == nil || c.call.ref == nil {
		return Ref{}
	}
	return Ref{c: c, ref: append(wire.Ref(nil), c.call.ref...)}
}

// Assign stores a value with the joined channel. A [Key] does the same with a
// type.
func (c *Context) Assign(key string, value any) { c.assign(key, value) }

func (c *Context) assign(key, value any) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	c.extrasLocked().assigns.set(key, value)
}

// Get returns the value that was assigned to the channel, or else to its
// socket, or else nil.
func (c *Context) Get(key string) any {
	value, _ := c.lookup(key)
	return value
}

func (c *Context) lookup(key any) (value any, ok bool) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.extras != nil {
		if v, ok := c.extras.assigns.get(key); ok {
			return v, true
		}
	}
	return c.socket.lookup(key)
}

// Assigns returns a copy of all values that were assigned to the channel and
// its socket. The values of a [Key] are found under its name.
func (c *Context) Assigns() map[string]any {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	all := make(map[string]any)
	if id := c.socket.identity; id != nil {
		id.assigns.copyTo(all)
	}
	if c.extras != nil {
		c.extras.assigns.copyTo(all)
	}
	return all
}

// Send sends msg to the channel itself, for the [Info] handler of its type. It
// does not block: it returns ErrMailboxFull or ErrEnded instead.
func (c *Context) Send(msg any) error {
	return c.enqueue(item{kind: itemInfo, info: msg})
}

// Stop ends the channel. A callback that is running returns first, and its
// reply is sent. With a nil reason the client gets phx_close, as for Phoenix's
// normal and shutdown reasons; otherwise phx_error, after which clients rejoin.
func (c *Context) Stop(reason error) {
	if reason == nil {
		reason = ErrStopped
	}
	c.endChannel(reason)
}

// OnEnd registers f to be called once when the channel has ended, after
// Terminate. If that has happened already, OnEnd calls f itself. f must not
// block.
func (c *Context) OnEnd(f func()) {
	c.life.mu.Lock()
	if c.life.phase == phaseOver {
		c.life.mu.Unlock()
		f()
		return
	}
	c.extrasLocked().onEnd.add(f)
	c.life.mu.Unlock()
}

func (h *hook) add(f func()) {
	if h.f == nil {
		h.f = f
		return
	}
	for h.next != nil {
		h = h.next
	}
	h.next = &hook{f: f}
}

// pop takes the first function.
func (h *hook) pop() (f func()) {
	f = h.f
	if h.next != nil {
		*h = *h.next
	} else {
		h.f = nil
	}
	return f
}

// Deadline implements [context.Context]. There is no deadline.
func (c *Context) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements [context.Context]. The channel is closed when the joined
// channel ends.
func (c *Context) Done() <-chan struct{} { return c.context().Done() }

// Err implements [context.Context]. It returns nil until the channel ends.
func (c *Context) Err() error { return c.context().Err() }

// Value implements [context.Context], so that contexts derived from c need no
// goroutine. Values of a channel are stored with Assign or a [Key].
func (c *Context) Value(key any) any { return c.context().Value(key) }

func (c *Context) context() context.Context {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	x := c.extrasLocked()
	if x.derived == nil {
		x.derived = new(derived)
		x.derived.ctx, x.derived.cancel = context.WithCancelCause(context.Background())
		if c.life.cause != nil {
			x.derived.cancel(c.life.cause)
		}
	}
	return x.derived.ctx
}

func (c *Context) extrasLocked() *extras {
	if c.extras == nil {
		c.extras = new(extras)
	}
	return c.extras
}

func (c *Context) rareLocked() *rare {
	x := c.extrasLocked()
	if x.rare == nil {
		x.rare = new(rare)
	}
	return x.rare
}

// channelSubscriber is a Context as the subscriber of its topic. It is a type of
// its own so that Context does not export pubsub's method; a pointer converts
// from one to the other at no cost.
type channelSubscriber Context

// Subscription implements dispatch.Subscriber.
func (s *channelSubscriber) Subscription() *dispatch.Subscription { return &s.sub }

// send posts a frame to the socket's loop and takes over its reference.
// Everything that a channel sends goes through the loop's inbox, broadcasts
// included, which keeps it in order.
func (c *Context) send(f *netloop.Frame) error { return c.deliver(delivery{c: c, f: f}) }

func (c *Context) deliver(d delivery) error {
	c.life.mu.Lock()
	over := c.life.closing()
	c.life.mu.Unlock()
	if over || !c.socket.loop.Post(newDelivery(d)) {
		d.release()
		return ErrEnded
	}
	return nil
}

// delivery is one message on its way from a channel to its socket's loop.
type delivery struct {
	c       *Context
	f       *netloop.Frame
	more    []*netloop.Frame // the rest of a series of several frames
	renewal renewal
}

func (d *delivery) release() {
	d.f.Release()
	frames.Release(d.more)
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

func newDelivery(d delivery) *delivery {
	pooled := deliveries.Get().(*delivery)
	*pooled = d
	return pooled
}

func (d *delivery) Run() {
	now := *d
	*d = delivery{}
	deliveries.Put(d)
	switch c := now.c; c.life.view {
	case joining: // the reply of the join comes first
		c.pending.keepPush(&now)
	case joined:
		c.sendOrPutOff(now.f, now.more, now.renewal)
	case ended:
		now.release()
	}
}
