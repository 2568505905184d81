package channels

import (
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// hold is a socket that is not read for a while: TCP, or the POST of long
// polling, makes its client wait. Owned by the loop.
type hold struct {
	until  time.Time // above a rate; zero: not for that
	full   []*stall  // for channels whose mailboxes are full
	large  bool      // what a compressed message inflated to was above a rate
	unread []byte    // what had been read of the connection and is to be decoded later
	ending bool      // a task that ends the hold has been posted
}

// stopsDecoding reports whether what has been read waits as well. What is above a
// rate is refused without much work, but a few bytes that are compressed can be
// many large messages.
func (h *hold) stopsDecoding() bool { return h != nil && (len(h.full) > 0 || h.large) }

// stall is a full mailbox that keeps its socket from being read.
type stall struct {
	c     *Context
	timer *time.Timer // ends it
}

// held returns the hold of the socket, making one if there is none.
func (s *Socket) held() *hold {
	l := s.perLoop()
	h := l.held[s]
	if h == nil {
		if l.held == nil {
			l.held = make(map[*Socket]*hold)
		}
		h = new(hold)
		l.held[s] = h
		s.endpoint.counters.heldUp.Add(1)
		s.transport.hold()
	}
	return h
}

// isHeld reports whether the socket is not read at the moment: its silence is
// not its client's.
func (s *Socket) isHeld() bool { return s.holding() != nil }

// holding returns the hold of the socket; nil if it has none, as nearly all.
func (s *Socket) holding() *hold {
	if held := s.perLoop().held; len(held) > 0 {
		return held[s]
	}
	return nil
}

// readAgain reads the socket again if nothing speaks against it. What had been
// read before is decoded first, by a task: the caller may have messages that came
// before that.
func (s *Socket) readAgain() {
	h := s.holding()
	if !h.isOver() {
		return
	}
	if len(h.unread) == 0 {
		delete(s.perLoop().held, s)
		s.transport.resume(nil)
		return
	}
	if !h.ending {
		h.ending = true
		s.loop.Post(netloop.TaskFunc(s.decodeUnread))
	}
}

// isOver reports whether nothing keeps the socket from being read. nil is no
// hold that could end.
func (h *hold) isOver() bool { return h != nil && h.until.IsZero() && len(h.full) == 0 }

// decodeUnread ends a hold behind which there is something to decode, which may
// begin the next one.
func (s *Socket) decodeUnread() {
	h := s.holding()
	if h == nil {
		return
	}
	h.ending = false
	if !h.isOver() {
		return
	}
	delete(s.perLoop().held, s)
	s.transport.resume(h.unread)
}

// forgetHold is for a socket that is closed.
func (s *Socket) forgetHold() {
	l := s.perLoop()
	if h := l.held[s]; h != nil {
		for _, f := range h.full {
			f.timer.Stop()
		}
		delete(l.held, s)
	}
}

// holdUp holds the client up for d, or for that much from now on if it is held
// up already, because of a rate. What has been read is still handled, unless
// it is [hold.stopsDecoding].
func (s *Socket) holdUp(d time.Duration, rate string) {
	h := s.held()
	first := h.until.IsZero()
	h.until = s.loop.Now().Add(d)
	if !first {
		return
	}
	s.line(zerolog.DebugLevel, "socket not read for a while: it is above a rate").Str("rate", rate).Str("for", d.String()).Write()
	s.endHoldIn(d)
}

func (s *Socket) endHoldIn(d time.Duration) {
	time.AfterFunc(d, func() { s.loop.Post(netloop.TaskFunc(s.endHold)) })
}

// endHold undoes holdUp when it is time.
func (s *Socket) endHold() {
	h := s.perLoop().held[s]
	if h == nil {
		return
	}
	if left := h.until.Sub(s.loop.Now()); left > 0 {
		s.endHoldIn(left)
		return
	}
	h.until = time.Time{}
	s.readAgain()
}

// stall keeps the socket from being read because c has as much waiting as it
// may, until there is room or Limits.MailboxWait has passed. What the client
// has sent meanwhile waits in its connection, heartbeats included: this is why
// that time is bounded.
func (s *Socket) stall(c *Context) {
	if s.closed() {
		return
	}
	h := s.held()
	f := &stall{c: c}
	f.timer = time.AfterFunc(s.mount.limits.MailboxWait, func() { s.loop.Post(f) })
	h.full = append(h.full, f)
	c.line(zerolog.DebugLevel, "socket not read for a while: the channel's mailbox is full").Write()
}

// endStall undoes stall.
func (s *Socket) endStall(c *Context) {
	h := s.perLoop().held[s]
	if h == nil {
		return
	}
	h.full = slices.DeleteFunc(h.full, func(f *stall) bool {
		if f.c == c {
			f.timer.Stop()
		}
		return f.c == c
	})
	s.readAgain()
}

// Run is for the loop, when a mailbox has been full for Limits.MailboxWait:
// its channel ends if it still is.
func (f *stall) Run() {
	c, s := f.c, f.c.socket
	h := s.perLoop().held[s]
	if h == nil || !slices.Contains(h.full, f) {
		return
	}
	s.endStall(c)
	switch {
	case c.life.view == joining:
		c.giveUpJoin(ErrMailboxFull, reasonOverloaded)
	case c.isFull():
		c.overrun()
	}
}

// isFull reports whether the mailbox still has as much as it may, and allows it
// to stall the socket again.
func (c *Context) isFull() bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.box == nil {
		return false
	}
	c.box.stalled = false
	return !c.box.fits(new(item), c.socket.mount.limits)
}

// mailboxRoom is a Context as the task of a mailbox that has room again.
type mailboxRoom Context

// Run is for the loop.
func (t *mailboxRoom) Run() { t.socket.endStall((*Context)(t)) }

// mailboxOverrun is a Context as the task that ends it because it was sent more
// than its mailbox takes.
type mailboxOverrun Context

// Run is for the loop.
func (t *mailboxOverrun) Run() { (*Context)(t).overrun() }
