package channels

import (
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// hold is the state of a socket that is not read for a while. Its client waits, held
// up by TCP or by the POST of long polling. Owned by the loop.
type hold struct {
	until  time.Time // end of a pause for a rate; zero: not above a rate
	full   []*stall  // full mailboxes of the socket's channels
	large  bool      // the inflated size of a compressed message was above a rate
	unread []byte    // bytes that have been read and will be decoded later
	ending bool      // a task that ends the hold has been posted
}

// stopsDecoding reports whether bytes that were read already must wait too. Messages
// above a rate need not, because refusing them is little work. But a few compressed
// bytes can be many large messages.
func (h *hold) stopsDecoding() bool { return h != nil && (len(h.full) > 0 || h.large) }

// stall is a full mailbox that keeps its socket from being read.
type stall struct {
	c     *Context
	timer *time.Timer // ends it
}

// ensureHold returns the hold of the socket, and makes one if there is none.
func (s *Socket) ensureHold() *hold {
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

// isHeld reports whether the socket is not read at the moment. A silent socket that
// is held may have a client that is not silent.
func (s *Socket) isHeld() bool { return s.findHold() != nil }

// findHold returns the hold of the socket, nil if it has none.
func (s *Socket) findHold() *hold {
	if held := s.perLoop().held; len(held) > 0 {
		return held[s]
	}
	return nil
}

// readAgain resumes reading if no reason for the hold is left. A task decodes what
// was read before, because the caller may have messages that came earlier.
func (s *Socket) readAgain() {
	h := s.findHold()
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

// isOver reports whether no reason for the hold is left. It is false for nil.
func (h *hold) isOver() bool { return h != nil && h.until.IsZero() && len(h.full) == 0 }

// decodeUnread ends a hold and decodes what was read before it, which may begin the
// next hold.
func (s *Socket) decodeUnread() {
	h := s.findHold()
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

// forgetHold drops the hold of a closed socket.
func (s *Socket) forgetHold() {
	l := s.perLoop()
	if h := l.held[s]; h != nil {
		for _, f := range h.full {
			f.timer.Stop()
		}
		delete(l.held, s)
	}
}

// holdUp stops reading the socket until d from now, because of a rate. What was read
// already is still handled, unless [hold.stopsDecoding].
func (s *Socket) holdUp(d time.Duration, rate string) {
	h := s.ensureHold()
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

// endHold undoes holdUp when its time is over.
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

// stall stops reading the socket because the mailbox of c is full, until it has room
// or Limits.MailboxWait has passed. The wait is bounded because heartbeats are not
// read meanwhile either.
func (s *Socket) stall(c *Context) {
	if s.closed() {
		return
	}
	h := s.ensureHold()
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

// Run ends the channel if its mailbox is still full after Limits.MailboxWait. It is
// for the loop.
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

// isFull reports whether the mailbox is still full, and permits it to stall the
// socket again.
func (c *Context) isFull() bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.box == nil {
		return false
	}
	c.box.stalled = false
	return !c.box.fits(new(item), c.socket.mount.limits)
}

// mailboxRoom is the task that ends the stall of a mailbox that has room again.
type mailboxRoom Context

// Run is for the loop.
func (t *mailboxRoom) Run() { t.socket.endStall((*Context)(t)) }

// mailboxOverrun is the task that ends a channel whose mailbox was sent too much.
type mailboxOverrun Context

// Run is for the loop.
func (t *mailboxOverrun) Run() { (*Context)(t).overrun() }
