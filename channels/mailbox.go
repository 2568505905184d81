package channels

import (
	"errors"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// mailbox holds the messages that wait for one channel, within
// Limits.MailboxMessages and MailboxBytes. A channel has one only while
// messages wait.
//
// When it is full, its socket is not read until there is room again (see
// Socket.stall); the client's message that did not fit is still accepted.
// Messages of the program are refused, and an intercepted broadcast that does
// not fit ends the channel.
type mailbox struct {
	items   []item
	next    int // index of the first waiting item
	bytes   int
	stalled bool      // the socket is not read because of it
	until   time.Time // when takeLeftLocked stops; set when the socket has ended
}

var mailboxes = sync.Pool{New: func() any { return new(mailbox) }}

// item is one message for a channel.
type item struct {
	kind    itemKind
	now     bool     // from handleNow, which handles only this item
	ref     wire.Ref // itemEvent, itemLeave
	event   string   // itemEvent
	payload Payload  // itemEvent, itemOut, itemBroadcast
	out     *broadcast
	info    any  // itemInfo, itemTimer; itemBroadcast: its *subscription; itemBehind: a func()
	inTurn  bool // its callback has the turn of its socket's renewals
}

type itemKind uint8

const (
	itemEvent     itemKind = iota
	itemCrash              // an event whose name is not a string
	itemLeave              // phx_leave: at most one per join, so it is not bounded
	itemOut                // an intercepted broadcast; holds a reference to it
	itemBroadcast          // a broadcast of a further topic; likewise
	itemInfo               // Send, or an afterJoin
	itemTimer              // SendAfter: not bounded, because the timer took more memory
	itemBehind             // a function for the loop: at most one for each mark and probe
)

// fits reports whether the bounds leave room for an item.
func (b *mailbox) fits(it *item, l *Limits) bool {
	waiting := b.waiting()
	return waiting == 0 || waiting < l.MailboxMessages && b.bytes+it.size() <= l.MailboxBytes
}

func (b *mailbox) waiting() int { return len(b.items) - b.next }

// takeItem removes and returns the first item.
func (b *mailbox) takeItem() item {
	it := b.items[b.next]
	b.items[b.next] = item{}
	b.next++
	b.bytes -= it.size()
	return it
}

// takeLeftLocked takes the next event that the client pushed before its socket
// ended. It does so only for channels with outer middleware, which may take
// long to decide: a client that pushes an event and then closes its page
// expects the event to be handled. Phoenix's channels too handle what is in
// their mailbox before the message that their transport is gone
// (lib/phoenix/channel/server.ex). Events that are not handled within
// Limits.MailboxWait are dropped.
func (c *Context) takeLeftLocked(it *item) bool {
	box := c.box
	if box == nil || !c.def.outer || c.life.phase != phaseEnding || !errors.Is(c.life.cause, ErrClosed) {
		return false
	}
	for box.next < len(box.items) && box.items[box.next].kind != itemLeave {
		if time.Now().After(box.until) {
			c.socket.endpoint.counters.mailboxFull.Add(int64(box.waiting()))
			return false
		}
		*it = box.takeItem()
		if it.kind == itemEvent {
			return true
		}
		if it.out != nil {
			it.out.Release()
		}
		*it = item{}
	}
	return false
}

// hasRoom reports whether the socket should be read again.
func (b *mailbox) hasRoom(l *Limits) bool {
	if !b.stalled || b.waiting() > l.MailboxMessages/2 || b.bytes > l.MailboxBytes/2 {
		return false
	}
	b.stalled = false
	return true
}

// enqueue puts a message into the mailbox and makes sure that it is handled. It
// never blocks. The loop enqueues messages of clients.
func (c *Context) enqueue(it item) error {
	c.life.mu.Lock()
	if c.life.cause != nil {
		c.life.mu.Unlock()
		return ErrEnded
	}
	stall := false
	if box := c.box; box != nil && !box.fits(&it, c.socket.mount.limits) {
		switch it.kind {
		case itemOut, itemBroadcast, itemInfo:
			c.life.mu.Unlock()
			c.socket.endpoint.counters.mailboxFull.Add(1)
			return ErrMailboxFull
		case itemEvent, itemCrash:
			stall = !box.stalled
			box.stalled = true
		}
	}
	start := c.putLocked(it)
	c.life.mu.Unlock()
	if start {
		c.startCallbacks()
	}
	if stall {
		c.socket.stall(c)
	}
	return nil
}

// putLocked puts a message into the mailbox, and reports whether the caller
// must start the callbacks.
func (c *Context) putLocked(it item) (start bool) {
	if c.box == nil {
		c.box = mailboxes.Get().(*mailbox)
	}
	c.box.items = append(c.box.items, it)
	c.box.bytes += it.size()
	c.socket.endpoint.counters.raise(int64(c.box.waiting()))
	return c.life.step(eventMessage)
}

// behindMailbox has f called on the loop after everything that the callbacks
// send for the messages that wait now. f is not called if the channel ends
// before that.
func (c *Context) behindMailbox(f func()) error { return c.enqueue(item{kind: itemBehind, info: f}) }

// size returns what the item counts against Limits.MailboxBytes: everything
// whose length clients choose.
func (it *item) size() int { return len(it.payload.Data) + len(it.ref) + len(it.event) }

// eventItem copies an event out of the frame that it came in.
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

// handleNow handles an event on the loop, in the frame that it came in, for a
// channel that declared OnLoop. It returns false if the event must wait behind
// others.
func (c *Context) handleNow(m *wire.Message) bool {
	if !c.claim() {
		return false
	}
	it := &c.socket.perLoop().item
	*it = item{kind: itemEvent, ref: m.Ref, event: string(m.Event), payload: m.Payload, now: true}
	c.handle(it)
	c.proceed(it)
	return true
}

// proceed gives back the right to run callbacks after a callback on the loop,
// or handles the messages that have come meanwhile.
func (c *Context) proceed(it *item) {
	*it = item{}
	if !c.restIfIdle() {
		c.runCallbacks()
	}
}

// dropMailboxLocked drops the mailbox with everything in it. It reports whether
// the socket should be read again.
func (c *Context) dropMailboxLocked() (room bool) {
	box := c.box
	if box == nil {
		return false
	}
	for i := box.next; i < len(box.items); i++ {
		if b := box.items[i].out; b != nil {
			b.Release()
		}
	}
	room = box.stalled
	clear(box.items)
	*box = mailbox{items: box.items[:0]}
	c.box = nil
	if cap(box.items) <= 64 { // do not keep a large one
		mailboxes.Put(box)
	}
	return room
}

// clientFault is the value of a panic about a client's message. It is logged
// without a stack, so that the log line does not cost more than the message.
type clientFault string

// shortened shortens a client's text for an error about its message.
func shortened(text string) string {
	if most := 64; len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// handle runs the callback of one message. A panic ends the channel, and so
// does runtime.Goexit.
func (c *Context) handle(it *item) {
	returned := false
	defer func() {
		c.call = nil
		if !returned {
			p := &PanicError{Value: recovered(recover()), Stack: debug.Stack()}
			c.noteCrash(p, it)
			c.endChannel(p)
			if it.now && p.Value == errGoexit { // handleNow cannot continue: a task does
				*it = item{}
				c.startCallbacks()
			}
		}
		if it.inTurn {
			c.giveTurn()
		}
	}()
	c.call = it
	switch it.kind {
	case itemEvent:
		c.handleEvent(it)
	case itemOut:
		c.handleOut(it)
	case itemBroadcast:
		c.handleBroadcast(it)
	case itemInfo, itemTimer:
		c.handleInfo(it)
	case itemBehind:
		c.socket.loop.Post(netloop.TaskFunc(it.info.(func())))
	case itemLeave:
		c.handleLeave(it)
	case itemCrash:
		panic(clientFault("the event is not a string"))
	}
	returned = true
}

func (c *Context) handleEvent(it *item) {
	line, start := c.startedLine("event handled")
	storing := c.storesSome()
	if storing {
		c.beginStoring()
	}
	reply, err := c.def.handleEvent(c, it.payload)
	switch {
	case err != nil && !noError(err):
		err = c.answerError(it.ref, err)
	case storing:
		err = c.replyWhenStored(it.ref, reply)
	default:
		err = c.answerReply(it.ref, reply)
	}
	if err != nil && err != ErrEnded {
		panic(err)
	}
	if line.On() {
		line.Str("event", it.event).Took(start).Write()
	}
}

func (c *Context) handleOut(it *item) {
	defer it.out.Release()
	if err := c.def.intercept[it.out.Event](c, it.out.Payload); err != nil {
		c.failure(err, "intercept failed").Str("event", it.out.Event).Write()
	}
}

func (c *Context) handleInfo(it *item) {
	if f, ok := it.info.(afterJoin); ok {
		if err := f(); err != nil {
			c.failure(err, "what follows the join failed").Write()
		}
		return
	}
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
	c.reply(it.ref, "ok", nil) //nolint:errcheck // a closed socket needs no answer
	c.endChannel(ErrLeft)
}

// noteCrash logs and counts a panic in the callback of a message.
func (c *Context) noteCrash(p *PanicError, it *item) {
	if _, client := p.Value.(clientFault); client {
		c.line(zerolog.WarnLevel, "channel crashed").Str("event", it.event).Panic(p.Value, nil).Write()
	} else {
		c.line(zerolog.ErrorLevel, "channel crashed").Str("event", it.event).Panic(p.Value, p.Stack).Write()
	}
	c.socket.endpoint.counters.crashes.Add(1)
}
