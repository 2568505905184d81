package channels

import (
	"bytes"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// pendingJoin is what a join needs until it is answered. Owned by the loop, but
// for what its goroutine needs.
type pendingJoin struct {
	c        *Context
	ref      wire.Ref
	replaces *Context         // the channel that this join ended
	held     []*netloop.Frame // pushed by the join callback; sent behind the reply
	later    []wire.Message   // came for the topic meanwhile; copies
	bytes    int              // of later
	stalled  bool             // the socket is not read because of them

	// Of joinTimers.
	next, prev *pendingJoin
	deadline   time.Time // zero: it stands in none

	// The goroutine's.
	params Payload
	wait   <-chan struct{} // closed when the channel that is replaced has finished; nil: it has
}

// pendingJoins are those of joins that were answered.
var pendingJoins = sync.Pool{New: func() any { return new(pendingJoin) }}

func newPendingJoin(c *Context, ref wire.Ref, replaces *Context) *pendingJoin {
	p := pendingJoins.Get().(*pendingJoin)
	p.c, p.ref, p.replaces = c, ref, replaces
	return p
}

// hold keeps a message until the join is answered. It reports whether these
// are now more than fit into a mailbox.
func (p *pendingJoin) hold(m *wire.Message, l *Limits) (full bool) {
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

// drop lets go of a join that is not answered any more.
func (p *pendingJoin) drop() {
	s := p.c.socket
	s.perLoop().joins.remove(p)
	s.endStall(p.c) // what waits for the join is handled now
	for _, f := range p.held {
		f.Release()
	}
	p.held = nil
}

// startJoin has the join callback run, on the loop or on a goroutine. wait,
// if not nil, is closed when the channel that is replaced has finished.
func (c *Context) startJoin(params Payload, wait <-chan struct{}) {
	if c.def.onLoop {
		it := &c.socket.perLoop().item
		*it = item{event: "phx_join", ref: c.pending.ref, payload: params}
		defer c.proceed(it) // also if the callback ends its goroutine
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

// awaitFinish waits for a replaced channel, but not for ever: a callback that
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

// runJoin runs the join callback and takes its outcome to the loop. From then
// on the callbacks belong to whoever resume gives them to: nothing of the
// channel may be touched after it.
func (c *Context) runJoin(it *item) {
	r := &joinResult{c: c}
	defer r.deliver() // also if the callback ends its goroutine
	c.callJoin(it, r)
}

// deliver takes the outcome to the loop.
func (r *joinResult) deliver() {
	c := r.c
	if c.def.onLoop {
		r.answer()
		return
	}
	callbacks := &c.socket.endpoint.callbacks
	callbacks.Add(1) // until resume, so that Shutdown waits for the channel meanwhile
	if !c.socket.loop.Post(r) {
		r.frame.Release()
		c.runCallbacks()
		callbacks.Add(-1)
	}
}

// callJoin makes the outcome of the join callback r.
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

// askJoin calls the join callback, and middleware around it. It returns the
// response of a join that is accepted.
func (c *Context) askJoin(params Payload) (response any, err error) {
	reply, err := c.def.handleJoin(c, params)
	switch {
	case err != nil && !noError(err):
		return nil, err
	case reply.Status == "ok":
		return reply.Response, nil
	case reply.Response == nil: // by middleware that answers itself
		return nil, &ReplyError{Response: reasonPayload(reasonUnauthorized)}
	}
	return nil, &ReplyError{Response: reply.Response}
}

// refuseJoin ends a channel whose join failed and encodes what the client is
// told. A response that cannot be encoded fails the join alone: Phoenix closes
// the whole socket there.
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
	return c.socket.key.Reply(c.joinRefWire(), ref, c.topic, status, payload)
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

// resume lets the callbacks run that waited for the join to be answered: what
// they broadcast is to reach the channel itself, so they must not run before
// it is subscribed.
func (c *Context) resume() {
	if !c.restIfIdle() {
		c.startCallbacks()
	}
}

// answer sends the outcome, and handles what has waited for it.
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
		for _, f := range p.held {
			s.send(f)
		}
		p.held = nil
	}
	p.drop()
	s.redispatch(p.later)
	*p = pendingJoin{}
	pendingJoins.Put(p)
}

// sendEndOf tells the client that a join has ended another one. It comes
// behind the reply of the new join and before all else of it, as in Phoenix.
func (s *Socket) sendEndOf(replaced *Context) {
	if replaced != nil {
		s.sendEnd(replaced, "phx_close", emptyObject)
	}
}

// redispatch handles messages that waited for a join; the rates counted them when
// they came.
func (s *Socket) redispatch(later []wire.Message) {
	for i := range later {
		if !s.closed() {
			s.handleIn(&later[i], protocolEvent(later[i].Event))
		}
	}
}

// giveUpJoin answers a join whose callback takes too long.
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
