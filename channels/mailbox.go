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
//
// When it is full, its socket is not read until there is room again (see
// Socket.stall); the message that did not fit is still taken. What the program
// sends is refused, and an intercepted broadcast that does not fit ends the
// channel.
type mailbox struct {
	items   []item
	next    int // index of the first that waits
	bytes   int
	stalled bool // the socket is not read because of it
}

var mailboxes = sync.Pool{New: func() any { return new(mailbox) }}

// item is one message for a channel.
type item struct {
	kind    itemKind
	now     bool     // of handleNow: whoever runs it runs nothing else
	ref     wire.Ref // itemEvent, itemLeave
	event   string   // itemEvent
	payload Payload  // itemEvent, itemOut, itemBroadcast
	out     *broadcast
	info    any  // itemInfo, itemTimer; itemBroadcast: its *subscription
	inTurn  bool // its callback has the turn among its socket's renewals
}

type itemKind uint8

const (
	itemEvent     itemKind = iota
	itemCrash              // an event whose name is no text
	itemLeave              // phx_leave: at most one a join, so it cannot flood
	itemOut                // an intercepted broadcast; holds a reference to it
	itemBroadcast          // one of a further topic; the same
	itemInfo               // Send
	itemTimer              // SendAfter: as many as there were timers, which take more room
)

// fits reports whether the bounds leave room for it.
func (b *mailbox) fits(it *item, l *Limits) bool {
	waiting := b.waiting()
	return waiting == 0 || waiting < l.MailboxMessages && b.bytes+it.size() <= l.MailboxBytes
}

func (b *mailbox) waiting() int { return len(b.items) - b.next }

// takeItem takes the first message out.
func (b *mailbox) takeItem() item {
	it := b.items[b.next]
	b.items[b.next] = item{}
	b.next++
	b.bytes -= it.size()
	return it
}

// hasRoom reports whether the socket is to be read again.
func (b *mailbox) hasRoom(l *Limits) bool {
	if !b.stalled || b.waiting() > l.MailboxMessages/2 || b.bytes > l.MailboxBytes/2 {
		return false
	}
	b.stalled = false
	return true
}

// enqueue puts a message into the mailbox and sees to it that somebody handles
// it. It never blocks. Clients' messages are enqueued by the loop.
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

// putLocked puts a message into the mailbox, and reports whether the caller has
// to start the callbacks.
func (c *Context) putLocked(it item) (start bool) {
	if c.box == nil {
		c.box = mailboxes.Get().(*mailbox)
	}
	c.box.items = append(c.box.items, it)
	c.box.bytes += it.size()
	c.socket.endpoint.counters.raise(int64(c.box.waiting()))
	return c.life.step(eventMessage)
}

// size is what the item counts against Limits.MailboxBytes: all that a client
// can make long.
func (it *item) size() int { return len(it.payload.Data) + len(it.ref) + len(it.event) }

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
	if !c.claim() {
		return false
	}
	it := &c.socket.perLoop().item
	*it = item{kind: itemEvent, ref: m.Ref, event: string(m.Event), payload: m.Payload, now: true}
	c.handle(it)
	c.proceed(it)
	return true
}

// proceed gives back the right to run callbacks after one on the loop, or runs
// what waits behind it.
func (c *Context) proceed(it *item) {
	*it = item{}
	if !c.restIfIdle() {
		c.runCallbacks()
	}
}

// dropMailboxLocked gives the mailbox back, with whatever waits in it. It
// reports whether the socket is to be read again.
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
	if cap(box.items) <= 64 { // a large one would keep its size for ever
		mailboxes.Put(box)
	}
	return room
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
			if it.now && p.Value == errGoexit { // handleNow does not go on: a task does
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
	case itemLeave:
		c.handleLeave(it)
	case itemCrash:
		panic(clientFault("the event is not a string"))
	}
	returned = true
}

func (c *Context) handleEvent(it *item) {
	line, start := c.startedLine("event handled")
	reply, err := c.def.handleEvent(c, it.payload)
	if err != nil && !noError(err) {
		err = c.answerError(it.ref, err)
	} else {
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
