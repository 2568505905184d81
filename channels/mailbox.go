package channels

import (
	"reflect"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/wire"
)

// mailbox is what waits for one channel: bounded by Limits.MailboxMessages and
// MailboxBytes. A channel has one only while something waits.
type mailbox struct {
	items []item
	next  int // index of the first that waits
	bytes int
}

var mailboxes = sync.Pool{New: func() any { return new(mailbox) }}

// item is one message for a channel.
type item struct {
	kind    itemKind
	ref     wire.Ref // itemEvent, itemLeave
	event   string   // itemEvent
	payload Payload  // itemEvent, itemOut
	out     *broadcast
	info    any
}

type itemKind uint8

const (
	itemEvent itemKind = iota
	itemOut            // an intercepted broadcast; holds a reference to it
	itemInfo           // Send
	itemLeave          // phx_leave
	itemCrash          // an event whose name is no string
)

// enqueue puts a message into the mailbox and sees to it that somebody handles
// it. It never blocks.
func (c *Context) enqueue(it item) error {
	limits := c.socket.mount.limits
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return ErrEnded
	}
	if c.box == nil {
		c.box = mailboxes.Get().(*mailbox)
	}
	box := c.box
	waiting := len(box.items) - box.next
	full := waiting >= limits.MailboxMessages || waiting > 0 && box.bytes+it.size() > limits.MailboxBytes
	if full && it.kind != itemLeave { // at most one leave a join: it cannot flood
		c.mu.Unlock()
		c.socket.endpoint.counters.mailboxFull.Add(1)
		return ErrMailboxFull
	}
	box.items = append(box.items, it)
	box.bytes += it.size()
	wake := c.wakeLocked()
	c.mu.Unlock()
	c.socket.endpoint.counters.raise(int64(waiting + 1))
	if wake {
		c.start()
	}
	return nil
}

// wakeLocked claims the right to run callbacks; the caller then calls start.
func (c *Context) wakeLocked() bool {
	if c.running || c.finished {
		return false
	}
	c.running = true
	return true
}

// start runs the callbacks that wait: on a goroutine that ends with the
// mailbox empty, or on the loop for a channel that declared OnLoop.
func (c *Context) start() {
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

func (r *loopRun) Run() { (*Context)(r).run() }

// run handles messages until none waits or the channel has ended. One run at
// a time: that is what keeps the callbacks of a channel in order.
func (c *Context) run() { c.runIn(new(item)) }

// runIn is run with room for a message.
func (c *Context) runIn(it *item) {
	exited := true
	defer func() {
		if exited { // by runtime.Goexit, as t.FailNow in a test's callback
			c.setCause(&PanicError{Value: "runtime.Goexit in a callback"})
			c.socket.endpoint.spawn((*channelRun)(c))
		}
	}()
	for c.take(it) {
		c.handle(it)
	}
	exited = false
}

// rest gives back the right to run callbacks if there is nothing to do.
func (c *Context) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.cause == nil && c.box == nil
	if idle {
		c.running = false
	}
	return idle
}

// take gets the next message; when there is none, the right to run ends. The
// first to find that the channel has ended finishes it.
func (c *Context) take(it *item) bool {
	c.mu.Lock()
	if c.cause != nil {
		first := !c.finished
		c.finished = true
		c.running = false
		c.dropMailboxLocked()
		c.mu.Unlock()
		if first {
			c.finish()
		}
		return false
	}
	box := c.box
	if box == nil || box.next == len(box.items) {
		c.running = false
		c.dropMailboxLocked()
		c.mu.Unlock()
		return false
	}
	*it = box.items[box.next]
	box.items[box.next] = item{}
	box.next++
	box.bytes -= it.size()
	c.mu.Unlock()
	return true
}

// size is what the item counts against Limits.MailboxBytes.
func (it *item) size() int { return len(it.payload.Data) }

// eventItem copies an event out of the frame it came in.
func eventItem(m *wire.Message) item {
	buf := make([]byte, 0, len(m.Ref)+len(m.Payload.Data))
	buf = append(buf, m.Ref...)
	buf = append(buf, m.Payload.Data...)
	it := item{
		kind: itemEvent, event: string(m.Event),
		payload: Payload{Data: buf[len(m.Ref):], Binary: m.Payload.Binary},
	}
	if m.Ref != nil {
		it.ref = buf[:len(m.Ref):len(m.Ref)]
	}
	return it
}

// handleNow handles an event on the loop, in the frame it came in, for a
// channel that declared OnLoop. It reports false if the event has to wait
// behind others.
func (c *Context) handleNow(m *wire.Message) bool {
	c.mu.Lock()
	free := c.cause == nil && c.box == nil && c.wakeLocked()
	c.mu.Unlock()
	if !free {
		return false
	}
	it := &c.socket.perLoop().item
	*it = item{kind: itemEvent, ref: m.Ref, event: string(m.Event), payload: m.Payload}
	c.handle(it)
	*it = item{}
	if !c.rest() {
		c.run()
	}
	return true
}

// dropMailboxLocked gives the mailbox back, with whatever waits in it.
func (c *Context) dropMailboxLocked() {
	box := c.box
	if box == nil {
		return
	}
	for i := box.next; i < len(box.items); i++ {
		if b := box.items[i].out; b != nil {
			b.Release()
		}
	}
	clear(box.items)
	box.items, box.next, box.bytes = box.items[:0], 0, 0
	c.box = nil
	if cap(box.items) <= 64 { // a large one would keep its size for ever
		mailboxes.Put(box)
	}
}

// clientFault is the panic of what a client has sent: its log must not cost more
// than the message.
type clientFault string

// shortened is a client's text in what its own message is said to lack.
func shortened(text string) string {
	if most := 64; len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// handle runs the callback of one message. A panic ends the channel.
func (c *Context) handle(it *item) {
	defer func() {
		if v := recover(); v != nil {
			c.crash(&PanicError{Value: v, Stack: debug.Stack()}, it)
		}
	}()
	c.call = it
	defer func() { c.call = nil }()
	switch it.kind {
	case itemEvent:
		c.handleEvent(it)
	case itemOut:
		c.handleOut(it)
	case itemInfo:
		c.handleInfo(it)
	case itemLeave:
		c.handleLeave(it)
	case itemCrash:
		panic(clientFault("the event is not a string"))
	}
}

func (c *Context) handleEvent(it *item) {
	h := c.def.handler(it.event)
	if h == nil {
		panic(clientFault("no handler for event " + shortened(it.event)))
	}
	line, start := c.startedLine("event handled")
	if err := h(c, it); err != nil && err != ErrEnded {
		panic(err)
	}
	line.Str("event", it.event).Took(start).Write()
}

func (c *Context) handleOut(it *item) {
	defer it.out.Release()
	if err := c.def.intercept[it.out.event](c, it.out.payload); err != nil {
		c.failure(err, "intercept failed").Str("event", it.out.event).Write()
	}
}

func (c *Context) handleInfo(it *item) {
	h := c.def.info[reflect.TypeOf(it.info)]
	if h == nil {
		c.line(zerolog.WarnLevel, "message without a handler dropped").Type("type", it.info).Write()
		return
	}
	if err := h(c, it.info); err != nil {
		c.failure(err, "info handler failed").Type("type", it.info).Write()
	}
}

// handleLeave answers phx_leave; phx_close follows when the channel ends.
func (c *Context) handleLeave(it *item) {
	c.reply(it.ref, "ok", nil) //nolint:errcheck // a gone socket needs no answer
	c.setCause(ErrLeft)
}

// crash ends the channel for a panic in the callback of it.
func (c *Context) crash(p *PanicError, it *item) {
	if _, client := p.Value.(clientFault); client {
		c.line(zerolog.WarnLevel, "channel crashed").Str("event", it.event).Panic(p.Value, nil).Write()
	} else {
		c.line(zerolog.ErrorLevel, "channel crashed").Str("event", it.event).Panic(p.Value, p.Stack).Write()
	}
	c.socket.endpoint.counters.crashes.Add(1)
	c.setCause(p)
}
