package channels

import (
	"errors"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/wire"
)

// The life of a joined channel, in order:
//
//	Socket.handleJoin (loop)   a Context in state joining, known to the socket
//	Context.runJoin            the join callback
//	joinResult.Run (loop)      reply, subscription, state joined
//	Context.handle             events, until somebody sets the cause of the end
//	Context.finish             phx_close or phx_error by way of the loop, then
//	                           Terminate, OnEnd, Done
//
// The cause is set by a callback (leave, stop, crash) or by the loop: kill,
// when the socket is closed or the topic joined again. kill takes the channel
// from the socket at once and leaves finish to whoever runs its callbacks.

// kill ends the channel from the loop: nothing is sent for it any more. The
// channel that it returns is closed when the last callback has run; it is nil
// if that has happened.
func (c *Context) kill(reason error) <-chan struct{} {
	c.release()
	c.mu.Lock()
	if c.cause == nil {
		c.cause = reason
	}
	if c.unnoticedLocked() {
		c.finished = true
		c.mu.Unlock()
		c.line(zerolog.DebugLevel, "channel ended").Err(reason).Write()
		return nil
	}
	x := c.extrasLocked()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.finished {
			close(x.done)
		}
	}
	if x.derived != nil {
		x.derived.cancel(c.cause) // now: a callback that blocks may be waiting for it
	}
	wake := c.wakeLocked()
	c.mu.Unlock()
	switch {
	case c.def.onLoop: // this is its loop, and none of its callbacks is running
		c.run()
		return nil
	case wake:
		c.socket.endpoint.spawn((*channelRun)(c))
	}
	return x.done
}

// unnoticedLocked tells that nobody would notice the end of the channel, so
// that ten thousand idle ones end without ten thousand goroutines.
func (c *Context) unnoticedLocked() bool {
	return !c.running && !c.finished && c.box == nil && c.extras == nil && c.def.terminate == nil
}

// release takes the channel's place in its topic, and what a join still held.
func (c *Context) release() {
	if c.state == joined {
		c.socket.endpoint.counters.channels.Add(-1)
	}
	c.state = ended
	c.socket.endpoint.pubsub.Unsubscribe(c.socket.loop.Index(), c)
	if c.pending != nil {
		c.pending.drop()
		c.pending = nil
	}
}

// finish runs once, after the last callback: it tells the client by way of the
// loop, and then the application.
func (c *Context) finish() {
	c.socket.loop.Post((*channelEnd)(c))
	c.mu.Lock()
	cause := c.cause
	if c.extras != nil && c.extras.derived != nil {
		c.extras.derived.cancel(cause)
	}
	c.mu.Unlock()
	c.line(zerolog.DebugLevel, "channel ended").Err(cause).Write()
	if c.def.terminate != nil && c.accepted {
		c.guard("Terminate", func() { c.def.terminate(c, cause) })
	}
	c.mu.Lock()
	var hooks hook
	if x := c.extras; x != nil {
		hooks, x.onEnd = x.onEnd, hook{}
	}
	c.mu.Unlock()
	for h := &hooks; h != nil && h.f != nil; h = h.next {
		c.guard("OnEnd", h.f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.extras; x != nil {
		x.finished = true
		if x.done != nil {
			close(x.done)
		}
	}
}

// guard runs one of the last callbacks; a panic in it must not skip the rest.
func (c *Context) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.line(zerolog.ErrorLevel, "channel crashed while it ended").Str("callback", what).Panic(v, debug.Stack()).Write()
		}
	}()
	f()
}

// channelEnd is a Context as the task that tells the client of its end.
type channelEnd Context

// Run is for the loop.
func (t *channelEnd) Run() {
	c := (*Context)(t)
	if c.state == ended { // killed by the loop, or never joined: the client knows
		return
	}
	c.release()
	c.socket.channels.remove(c)
	if c.endedWell() {
		c.socket.sendEnd(c, "phx_close", emptyObject)
	} else {
		c.socket.sendEnd(c, "phx_error", reasonPayload(reasonCrash).Data)
	}
}

// endedWell tells which of the two the client gets: after phx_error it rejoins
// by itself, after phx_close it does not (assets/js/phoenix/channel.js).
func (c *Context) endedWell() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.cause, ErrLeft) || errors.Is(c.cause, ErrStopped)
}

func (c *Context) setCause(reason error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = reason
	}
	c.mu.Unlock()
}

// joinRefWire is the join_ref as the join had it: null stays null.
func (c *Context) joinRefWire() wire.Ref {
	if c.nullRef {
		return nil
	}
	return c.joinRef
}
