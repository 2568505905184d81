package channels

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/wire"
)

// The life of a joined channel has two sides. The view is what the client may be sent; it belongs to the socket's loop
// and needs no lock. The phase is what the callbacks do; it is guarded by a lock. Both change only in this file, as the
// two tables say.
//
// The table of the view. While the view is joining, what the channel sends and
// what comes for its topic waits.
//
//	view     what happens                             by         next    what the client is sent
//	joining  the join callback accepts                answer     joined  the reply, phx_close of the channel that
//	                                                                     it replaces, what has waited
//	joining  the join callback refuses or crashes     answer     ended   an error reply
//	joining  the join times out, or too much waits    kill       ended   an error reply
//	joining  the socket is closed                     kill       ended   nothing
//	joined   the client leaves, the channel stops     endNotice  ended   phx_close
//	joined   a callback crashes, Stop with an error   endNotice  ended   phx_error
//	joined   the mailbox is full for too long         kill       ended   phx_error
//	joined   the client joins the topic again         kill       ended   phx_close, behind the reply of that join
//	joined   the socket is closed                     kill       ended   nothing
//	ended    any of these                                        ended   nothing
//
// The table of the phase is phases, below.

// view is what the client knows of a channel.
type view uint8

const (
	joining view = iota // the join is not answered
	joined              // what the channel sends is sent
	ended               // nothing more is sent
)

// phase is what the callbacks of a channel do. One goroutine or loop at a time
// has the right to run them; in phaseIdle and phaseOver nobody has it. The cause
// is set in every phase but joining, idle and running.
type phase uint8

const (
	phaseJoining  phase = iota // the join callback runs, or waits to run
	phaseCanceled              // the same, and the channel is to end
	phaseIdle                  // nothing runs, nothing waits
	phaseRunning               // callbacks run or are about to
	phaseEnding                // the callback that runs is the last before the end, unless takeLeftLocked finds another
	phaseRefused               // the same, and it is a join callback that has failed
	phaseClosing               // Terminate (not after phaseRefused) and the OnEnd functions run
	phaseOver                  // the last callback has returned, and those that wait for it are woken
	phaseCount
)

// lifeEvent is what happens to a phase.
type lifeEvent uint8

const (
	eventMessage lifeEvent = iota // a message waits for the channel
	eventEnd                      // the channel must end: left, stopped, crashed, or ended by the loop
	eventAccept                   // the join callback has accepted
	eventRefuse                   // the join callback has refused or crashed
	eventRest                     // nothing waits for the channel
	eventClose                    // the callbacks have returned, and the channel must end
	eventOver                     // the last callback has returned
	eventCount
)

const never = phaseCount

// phases is the table. The caller that moves a channel out of phaseIdle must start the callbacks. There is one
// shortcut: kill moves an idle channel to phaseOver if it has no callback for its end.
var phases = [phaseCount][eventCount]phase{
	//                 Message        End            Accept        Refuse        Rest       Close         Over
	phaseJoining:  {phaseJoining, phaseCanceled, phaseRunning, phaseRefused, never, never, never},
	phaseCanceled: {phaseCanceled, phaseCanceled, phaseEnding, phaseRefused, never, never, never},
	phaseIdle:     {phaseRunning, phaseEnding, never, never, never, never, never},
	phaseRunning:  {phaseRunning, phaseEnding, never, never, phaseIdle, never, never},
	phaseEnding:   {phaseEnding, phaseEnding, never, never, never, phaseClosing, never},
	phaseRefused:  {phaseRefused, phaseRefused, never, never, never, phaseClosing, never},
	phaseClosing:  {phaseClosing, phaseClosing, never, never, never, never, phaseOver},
	phaseOver:     {phaseOver, phaseOver, never, never, never, never, never},
}

// life is a channel's position in its life.
type life struct {
	view view // owned by the socket's loop

	// Guarded by mu, like the mailbox and the extras. Lock order: presence's topic lock, then mu; no lock of another
	// package is taken under mu.
	phase phase
	mu    sync.Mutex
	cause error // why the channel ends; set once
}

// step changes the phase as the table says, and reports whether the caller must start the callbacks. The caller holds
// mu.
func (l *life) step(e lifeEvent) (start bool) {
	was := l.phase
	if l.phase = phases[was][e]; l.phase == never {
		misstep(was, e)
	}
	return was == phaseIdle
}

// misstep is a separate function so that step is inlined.
func misstep(was phase, e lifeEvent) {
	panic(fmt.Sprintf("channels: event %d in phase %d of a channel's life", e, was))
}

// closing reports whether the last callbacks have begun, after which nothing is sent. The caller holds mu.
func (l *life) closing() bool { return l.phase >= phaseClosing }

// endLocked notes that the channel must end; the first reason counts. It reports whether the caller must start the
// callbacks.
func (c *Context) endLocked(reason error) (start bool) {
	l := &c.life
	switch {
	case l.cause == nil:
		l.cause = reason
		if c.box != nil && c.def.outer {
			c.box.until = time.Now().Add(c.socket.mount.limits.MailboxWait)
		}
	case errors.Is(l.cause, ErrClosed):
		c.dropMailboxLocked() // also what takeLeftLocked would take
	}
	if x := c.extras; x != nil && x.derived != nil {
		x.derived.cancel(l.cause) // now: a callback that blocks may be waiting for it
	}
	c.dropTimersLocked()
	return l.step(eventEnd)
}

// endChannel ends the channel when the running callback has returned.
func (c *Context) endChannel(reason error) {
	c.life.mu.Lock()
	start := c.endLocked(reason)
	c.life.mu.Unlock()
	if start {
		c.startCallbacks()
	}
}

// kill ends the channel from the loop: nothing more is sent for it. It returns a Go channel that is closed when the
// last callback has returned, or nil if it has.
func (c *Context) kill(reason error) <-chan struct{} {
	c.release(reason)
	c.life.mu.Lock()
	if c.unnoticedLocked() {
		c.life.cause, c.life.phase = reason, phaseOver
		c.life.mu.Unlock()
		c.line(zerolog.DebugLevel, "channel ended").Err(reason).Write()
		return nil
	}
	start := c.endLocked(reason)
	if c.def.onLoop { // this is its loop, so none of its callbacks is running
		c.life.mu.Unlock()
		c.runCallbacks()
		return nil
	}
	over := c.overLocked()
	c.life.mu.Unlock()
	if start {
		c.startCallbacks()
	}
	return over
}

// overrun ends a channel whose mailbox has overflowed, even while its callback hangs.
func (c *Context) overrun() {
	if c.life.view != joined {
		return
	}
	s := c.socket
	c.life.mu.Lock()
	if c.box != nil {
		s.endpoint.counters.mailboxFull.Add(int64(c.box.waiting()))
	}
	c.life.mu.Unlock()
	c.line(zerolog.WarnLevel, "channel ended: its mailbox is full").Write()
	s.channels.remove(c)
	c.kill(ErrMailboxFull)
	s.sendEnd(c, "phx_error", reasonPayload(reasonOverloaded).Data)
}

// unnoticedLocked reports whether the end of the channel runs no callback. Ten thousand idle channels then end
// without ten thousand goroutines.
func (c *Context) unnoticedLocked() bool {
	return c.life.phase == phaseIdle && c.extras == nil && c.def.terminate == nil
}

// overLocked returns the Go channel that is closed in phaseOver, nil if that has been reached.
func (c *Context) overLocked() <-chan struct{} {
	if c.life.phase == phaseOver {
		return nil
	}
	x := c.extrasLocked()
	if x.over == nil {
		x.over = make(chan struct{})
	}
	return x.over
}

// release ends the view: it removes the channel from its topics and discards a pending join. why is the reason of the
// channel's end.
func (c *Context) release(why error) {
	if c.life.view == joined {
		c.observeLeave(why)
		c.socket.endpoint.counters.channels.Add(-1)
	}
	c.life.view = ended
	c.dropHistory()
	c.forgetTurn()
	c.socket.endpoint.pubsub.Unsubscribe(c.socket.loop.Index(), (*channelSubscriber)(c))
	c.dropSubscriptions()
	if c.pending != nil {
		c.pending.drop()
		c.pending = nil
	}
}

// show sets the view of an answered join.
func (c *Context) show(accepted bool) {
	s := c.socket
	if !accepted {
		c.life.view = ended
		c.dropSubscriptions()
		s.channels.remove(c)
		return
	}
	c.life.view = joined
	c.observeJoin()
	s.endpoint.pubsub.Subscribe(s.loop.Index(), c.topic, (*channelSubscriber)(c))
	s.endpoint.counters.channels.Add(1)
}

// claim takes the right to run callbacks if none runs and no message waits.
func (c *Context) claim() bool {
	c.life.mu.Lock()
	claimed := c.life.phase == phaseIdle && c.life.step(eventMessage)
	c.life.mu.Unlock()
	return claimed
}

// joinReturned notes the outcome of the join callback. The right to run callbacks stays with the join until it is
// answered.
func (c *Context) joinReturned(accepted bool, reason error) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if accepted {
		c.life.step(eventAccept)
		return
	}
	c.endLocked(reason)
	c.life.step(eventRefuse)
}

// restIfIdle gives back the right to run callbacks if no message waits, and reports whether it has.
func (c *Context) restIfIdle() bool {
	c.life.mu.Lock()
	idle := c.life.phase == phaseRunning && c.box == nil
	if idle {
		c.life.step(eventRest)
	}
	c.life.mu.Unlock()
	return idle
}

// startCallbacks handles the waiting messages: on a goroutine that ends when the mailbox is empty, or on the loop for a
// channel that declared OnLoop.
func (c *Context) startCallbacks() {
	if c.def.onLoop {
		c.socket.loop.Post((*loopRun)(c))
		return
	}
	c.socket.endpoint.spawn((*channelRun)(c))
}

// channelRun is a Context as the job that runs its callbacks.
type channelRun Context

func (r *channelRun) do(it *item) { (*Context)(r).runIn(it) }

// loopRun is a Context as a task of its loop.
type loopRun Context

// Run is for the loop.
func (r *loopRun) Run() { (*Context)(r).runCallbacks() }

// runCallbacks handles messages until none waits or the channel has ended. Only one runs at a time, which keeps the
// callbacks of a channel in order.
func (c *Context) runCallbacks() { c.runIn(new(item)) }

// runIn is runCallbacks with memory for a message.
func (c *Context) runIn(it *item) {
	exited := true
	defer func() {
		if exited { // runtime.Goexit, for example by t.FailNow in a test's callback: another goroutine continues
			c.startCallbacks()
		}
	}()
	for c.takeMessage(it) {
		c.handle(it)
	}
	exited = false
}

// takeMessage takes the next message; the caller has the right to run callbacks. If there is none, it gives the right
// back. If the channel must end, it runs the last callbacks.
func (c *Context) takeMessage(it *item) bool {
	c.life.mu.Lock()
	switch c.life.phase {
	case phaseRunning:
		if box := c.box; box != nil && box.next < len(box.items) {
			*it = box.takeItem()
			room := box.hasRoom(c.socket.mount.limits)
			c.life.mu.Unlock()
			if room {
				c.socket.loop.Post((*mailboxRoom)(c))
			}
			return true
		}
		c.dropMailboxLocked()
		c.life.step(eventRest)
		c.life.mu.Unlock()
	case phaseEnding, phaseRefused:
		if c.takeLeftLocked(it) {
			c.life.mu.Unlock()
			return true
		}
		accepted := c.life.phase == phaseEnding
		c.life.step(eventClose)
		room := c.dropMailboxLocked()
		cause := c.life.cause
		c.life.mu.Unlock()
		if room {
			c.socket.loop.Post((*mailboxRoom)(c))
		}
		c.line(zerolog.DebugLevel, "channel ended").Err(cause).Write()
		if accepted {
			c.socket.loop.Post((*endNotice)(c))
			if c.def.terminate != nil {
				c.callLast("Terminate", func() { c.def.terminate(c, cause) })
			}
		}
		c.runEndFunctions()
	case phaseClosing: // one of the last callbacks has ended its goroutine
		c.life.mu.Unlock()
		c.runEndFunctions()
	default: // kill came before the task that runs the callbacks
		c.life.mu.Unlock()
	}
	return false
}

// runEndFunctions runs the functions given to OnEnd, and ends the channel's life.
func (c *Context) runEndFunctions() {
	for {
		c.life.mu.Lock()
		x := c.extras
		if x == nil || x.onEnd.f == nil {
			c.life.step(eventOver)
			if x != nil && x.over != nil {
				close(x.over)
			}
			c.life.mu.Unlock()
			return
		}
		f := x.onEnd.pop()
		c.life.mu.Unlock()
		c.callLast("OnEnd", f)
	}
}

// callLast runs one of the last callbacks; a panic in it must not skip the rest.
func (c *Context) callLast(what string, f func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recovered(recover())
		c.line(zerolog.ErrorLevel, "channel crashed while it ended").Str("callback", what).Panic(v, debug.Stack()).Write()
	}()
	f()
	returned = true
}

// errGoexit stands for the panic of a callback that has called runtime.Goexit.
var errGoexit = errors.New("runtime.Goexit in a callback")

// recovered returns the value of a panic, given the result of recover for a callback that did not return.
func recovered(v any) any {
	if v == nil {
		return errGoexit
	}
	return v
}

// endNotice is a Context as the task that tells the client of its end.
type endNotice Context

// Run is for the loop.
func (t *endNotice) Run() {
	c := (*Context)(t)
	if c.life.view == ended { // by kill: the client has been told
		return
	}
	c.life.mu.Lock()
	cause := c.life.cause
	c.life.mu.Unlock()
	c.release(cause)
	c.socket.channels.remove(c)
	event, payload := c.farewell()
	c.socket.sendEnd(c, event, payload)
}

// farewell returns the message to the client about an end by the callbacks. After phx_error clients rejoin by
// themselves, after phx_close they do not (assets/js/phoenix/channel.js).
func (c *Context) farewell() (event string, payload []byte) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	switch cause := c.life.cause; {
	case c.life.leftLocked():
		return "phx_close", emptyObject
	case errors.Is(cause, ErrMailboxFull):
		return "phx_error", reasonPayload(reasonOverloaded).Data
	}
	return "phx_error", reasonPayload(reasonCrash).Data
}

// leftLocked reports whether the channel ends because the client has left it, or was told to.
func (l *life) leftLocked() bool {
	return errors.Is(l.cause, ErrLeft) || errors.Is(l.cause, ErrStopped)
}

func (c *Context) hasLeft() bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	return c.life.leftLocked()
}

// joinRefWire returns the join_ref as the join had it: null stays null.
func (c *Context) joinRefWire() wire.Ref {
	if c.nullRef {
		return nil
	}
	return c.joinRef
}
