package channels

import (
	"bytes"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

func init() {
	hooks.AfterJoin = func(channel any, f func() error) error {
		return channel.(*Context).enqueue(item{kind: itemInfo, info: afterJoin(f)})
	}
}

// afterJoin is a function of package hooks, for the mailbox.
type afterJoin func() error

// pendingJoin is the state of a join until it is answered. Owned by the loop,
// except for the fields of its goroutine.
type pendingJoin struct {
	c        *Context
	ref      wire.Ref
	replaces *Context         // the channel that this join ended
	pushed   []*netloop.Frame // by the join callback, or forwarded to it; sent after the reply
	waits    int              // bytes of pushed, as counted against Limits.OutboundBytes
	later    []wire.Message   // copies of messages that have come for the topic meanwhile
	bytes    int              // of later
	stalled  bool             // the socket is not read because of later
	catchUp  *catchUp         // what is sent of the topic's history after the reply; nil: nothing

	// Of joinTimers.
	next, prev *pendingJoin
	deadline   time.Time // zero: not in joinTimers

	// Owned by the join's goroutine.
	params Payload
	wait   <-chan struct{} // closed when the replaced channel has finished; nil: it has
}

// pendingJoins are kept for reuse.
var pendingJoins = sync.Pool{New: func() any { return new(pendingJoin) }}

func newPendingJoin(c *Context, ref wire.Ref, replaces *Context) *pendingJoin {
	p := pendingJoins.Get().(*pendingJoin)
	p.c, p.ref, p.replaces = c, ref, replaces
	return p
}

// keepForLater keeps a message until the join is answered. It reports whether
// the messages now exceed a mailbox.
func (p *pendingJoin) keepForLater(m *wire.Message, l *Limits) (full bool) {
	size := len(m.JoinRef) + len(m.Ref) + len(m.TopicJSON) + len(m.Event) + len(m.Payload.Data)
	full = len(p.later) >= l.MailboxMessages || len(p.later) > 0 && p.bytes+size > l.MailboxBytes
	p.bytes += size
	p.later = append(p.later, wire.Message{
		JoinRef: m.JoinRef.Clone(), Ref: m.Ref.Clone(),
		Topic: bytes.Clone(m.Topic), TopicIsString: m.TopicIsString, TopicJSON: bytes.Clone(m.TopicJSON),
		Event: bytes.Clone(m.Event), EventIsString: m.EventIsString,
		Payload: Payload{Data: bytes.Clone(m.Payload.Data), Binary: m.Payload.Binary},
	})
	return full
}

// errPushedTooMuch is the reason why a join is given up if its callback pushes
// too much.
var errPushedTooMuch = errors.New("channels: the join pushed more than Limits.OutboundBytes")

// keepPush keeps what the join callback has pushed until the join is answered.
// A join that pushes more than may wait for a connection is given up, because
// the connection would not survive the answer.
func (p *pendingJoin) keepPush(d *delivery) {
	c, limit := p.c, p.c.socket.mount.limits.OutboundBytes
	p.pushed = append(append(p.pushed, d.f), d.more...)
	p.waits += d.f.Cost(limit)
	for _, f := range d.more {
		p.waits += f.Cost(limit)
	}
	if p.waits > limit {
		c.line(zerolog.WarnLevel, "join given up: it pushed more than may wait for a client").Str("limit", "outbound_bytes").Write()
		c.giveUpJoin(errPushedTooMuch, reasonOverloaded)
	}
}

// drop discards a join that will no longer be answered.
func (p *pendingJoin) drop() {
	s := p.c.socket
	s.perLoop().joins.remove(p)
	s.endStall(p.c) // the waiting messages are handled now
	for _, f := range p.pushed {
		f.Release()
	}
	p.pushed, p.waits = nil, 0
}

// startJoin runs the join callback on the loop or on a goroutine. wait, if not
// nil, is closed when the replaced channel has finished.
func (c *Context) startJoin(params Payload, wait <-chan struct{}) {
	if c.def.onLoop {
		it := &c.socket.perLoop().item
		*it = item{event: "phx_join", ref: c.pending.ref, payload: params}
		defer c.proceed(it) // even if the callback ends its goroutine
		c.runJoin(it)
		return
	}
	p := c.pending
	p.params, p.wait = Payload{Data: bytes.Clone(params.Data), Binary: params.Binary}, wait
	if limit := c.socket.mount.limits.JoinTimeout; limit > 0 {
		c.socket.perLoop().joins.add(c.socket.loop, p, limit)
	}
	c.socket.endpoint.spawn((*joinJob)(p))
}

// joinJob is a pendingJoin as the job that runs the join callback.
type joinJob pendingJoin

func (j *joinJob) do(it *item) {
	awaitFinish(j.wait)
	*it = item{event: "phx_join", ref: j.ref, payload: j.params}
	j.c.runJoin(it)
}

// awaitFinish waits for a replaced channel, at most rejoinWait: a callback that
// hangs cannot be ended, and nothing that it sends reaches the client.
func awaitFinish(done <-chan struct{}) {
	if done == nil {
		return
	}
	timeout := time.NewTimer(rejoinWait)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}

// runJoin runs the join callback and posts its outcome to the loop. After that,
// the right to run callbacks is passed on by resume, so runJoin must not touch
// the channel from then on.
func (c *Context) runJoin(it *item) {
	r := &joinResult{c: c}
	defer r.deliver() // even if the callback ends its goroutine
	c.callJoin(it, r)
}

// deliver posts the outcome to the loop.
func (r *joinResult) deliver() {
	c := r.c
	if c.def.onLoop {
		r.answer()
		return
	}
	callbacks := &c.socket.endpoint.callbacks
	callbacks.Add(1) // until resume, so that Shutdown waits for the channel
	if !c.socket.loop.Post(r) {
		r.frame.Release()
		c.runCallbacks()
		callbacks.Add(-1)
	}
}

// callJoin calls the join callback and stores its outcome in r.
func (c *Context) callJoin(it *item, r *joinResult) {
	returned := false
	defer func() {
		c.call = nil
		if !returned {
			p := &PanicError{Value: recovered(recover()), Stack: debug.Stack()}
			c.noteCrash(p, it)
			c.refuseJoin(it.ref, p, r)
		}
	}()
	c.call = it
	line, start := c.startedLine("joined")
	response, err := c.askJoin(it.payload)
	if err == nil {
		r.frame, err = c.joinReply(it.ref, "ok", response)
	}
	if err != nil {
		c.refuseJoin(it.ref, err, r)
		c.line(zerolog.DebugLevel, "join refused").Err(err).Write()
	} else {
		r.ok = true
		c.joinReturned(true, nil)
		line.Took(start).Write()
	}
	returned = true
}

// askJoin calls the join callback, with middleware around it, and returns the
// response of an accepted join.
func (c *Context) askJoin(params Payload) (response any, err error) {
	reply, err := c.def.handleJoin(c, params)
	switch {
	case err != nil && !noError(err):
		return nil, err
	case reply.Status == "ok":
		return reply.Response, nil
	case reply.Response == nil: // from middleware that answers itself
		return nil, &ReplyError{Response: reasonPayload(reasonUnauthorized)}
	}
	return nil, &ReplyError{Response: reply.Response}
}

// refuseJoin ends a channel whose join failed, and encodes the error reply. If
// the response cannot be encoded, only the join fails; Phoenix would close the
// socket.
func (c *Context) refuseJoin(ref wire.Ref, err error, r *joinResult) {
	cause := err
	var response any = reasonPayload(reasonJoinCrashed)
	var crash *PanicError
	if refusal, ok := replyError(err); ok {
		cause, response = ErrRefused, refusal.Response
	} else if !errors.As(err, &crash) { // a crash is logged where it is caught
		c.failure(err, "join failed").Write()
	}
	f, err := c.joinReply(ref, "error", response)
	if err != nil {
		c.line(zerolog.ErrorLevel, "response to a refused join cannot be encoded").Err(err).Write()
		f, err = c.joinReply(ref, "error", reasonPayload(reasonJoinCrashed))
	}
	if err != nil {
		panic(err) // JSON can always be encoded
	}
	r.frame = f
	c.joinReturned(false, cause)
}

func (c *Context) joinReply(ref wire.Ref, status string, response any) (*netloop.Frame, error) {
	payload, err := encodePayload(response)
	if err != nil {
		return nil, err
	}
	return c.socket.key.Reply(c.joinRefWire(), ref, c.clientTopic(), status, payload)
}

// joinResult is the answer to a join on its way to the socket's loop.
type joinResult struct {
	c     *Context
	ok    bool
	frame *netloop.Frame
}

// Run is for the loop.
func (r *joinResult) Run() {
	r.answer()
	r.c.resume()
	r.c.socket.endpoint.callbacks.Add(-1)
}

// resume starts the callbacks that waited for the join to be answered. Their
// broadcasts must reach the channel itself, so they must not run before it is
// subscribed.
func (c *Context) resume() {
	if !c.restIfIdle() {
		c.startCallbacks()
	}
}

// answer sends the outcome, and handles the messages that have waited for it.
func (r *joinResult) answer() {
	c, s := r.c, r.c.socket
	if c.life.view != joining { // timed out, or the socket is gone
		r.frame.Release()
		return
	}
	p := c.pending
	c.pending = nil
	c.show(r.ok)
	s.send(r.frame)
	s.sendEndOf(p.replaces)
	if r.ok {
		s.transport.settle()
		for _, f := range p.pushed {
			s.send(f)
		}
		p.pushed = nil
		if p.catchUp != nil {
			c.startCatchUp(p.catchUp)
		}
	}
	p.drop()
	s.redispatch(p.later)
	*p = pendingJoin{}
	pendingJoins.Put(p)
}

// sendEndOf tells the client that a join has ended an earlier one. This follows
// the reply of the new join and precedes everything else of it, as in Phoenix.
func (s *Socket) sendEndOf(replaced *Context) {
	if replaced != nil {
		s.sendEnd(replaced, "phx_close", emptyObject)
	}
}

// redispatch handles messages that have waited for a join. The rates counted
// them when they came.
func (s *Socket) redispatch(later []wire.Message) {
	for i := range later {
		if !s.closed() {
			s.handleIn(&later[i], protocolEvent(later[i].Event))
		}
	}
}

// giveUpJoin answers a join with an error while its callback may still run.
func (c *Context) giveUpJoin(cause error, reason string) {
	s := c.socket
	if c.life.view != joining {
		return
	}
	p := c.pending
	f, err := c.joinReply(p.ref, "error", reasonPayload(reason))
	c.line(zerolog.DebugLevel, "join refused").Err(cause).Write()
	s.channels.remove(c)
	c.kill(cause)
	if err == nil {
		s.send(f)
	}
	s.sendEndOf(p.replaces)
	s.redispatch(p.later)
}
