package channels

import (
	"container/list"
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/longpoll"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// pollSession is a socket's connection as long polling: it keeps frames until
// a poll takes them, and costs no goroutine meanwhile. Requests are served on
// goroutines of net/http; what they want of the session they post to its loop.
//
// At most one answer is on its way to the client. Until that has been settled
// a further poll waits, so that messages which could not be written can come
// first in the next answer.
type pollSession struct {
	// Static after start.
	socket Socket
	id     longpoll.SessionID
	ticket *admission.Ticket
	window time.Duration
	grace  time.Duration

	// Owned by the loop.
	queue   []*netloop.Frame // wait for a poll
	size    int              // of queue and of writing, as it counts against Limits.OutboundBytes
	waiting *poll            // nil: nobody waits; see await
	place   *list.Element    // of idlePolls; nil while it is not there
	writing []*netloop.Frame // are being written by a request
	seen    time.Time        // the last end of a poll
	gone    bool             // its connection broke before the client had the answer
	expiry  *time.Timer
	woken   bool          // a task that answers the waiting poll has been posted
	slow    bool          // ends, by DisconnectSlow
	awaited bool          // by notifyDrained
	held    chan struct{} // closed when POSTs may go on; nil: they may
}

// poll is a GET that waits. The loop answers each exactly once.
type poll struct{ answer chan pollAnswer }

// pollAnswer is what a poll gets: 200 with frames, 204 without, or 410 if the
// session is over.
type pollAnswer struct {
	status int
	frames []*netloop.Frame // to be settled
}

func newPollSession(e *Endpoint, m *mount) *pollSession {
	loops := e.tenant.Lanes()
	s := &pollSession{id: longpoll.NewSessionID(), window: m.options.LongPoll.Window, grace: m.options.LongPoll.Grace}
	s.socket.endpoint, s.socket.mount, s.socket.transport = e, m, s
	s.socket.key.Framing = frames.LongPoll
	s.socket.loop = loops[e.sessions.next.Add(1)%uint32(len(loops))]
	return s
}

// The methods for requests, on any goroutine but a loop's.

// start makes the session known. It reports false if the endpoint drains.
func (s *pollSession) start() (started bool) {
	e := s.socket.endpoint
	e.onLoop(s.socket.loop.Index(), func() {
		if started = !e.isDraining(); started {
			s.open()
		}
	})
	if !started {
		s.ticket.Leave()
	}
	return started
}

// poll waits for messages until the window is over or ctx is done.
func (s *pollSession) poll(ctx context.Context) pollAnswer {
	p := &poll{answer: make(chan pollAnswer, 1)}
	if !s.post(func() { s.attach(p) }) {
		return pollAnswer{status: http.StatusGone}
	}
	window := time.NewTimer(s.window)
	defer window.Stop()
	select {
	case a := <-p.answer:
		return a
	case <-window.C:
	case <-ctx.Done():
	}
	gone := ctx.Err() != nil
	s.post(func() { s.detach(p, gone) })
	return <-p.answer // there is one even if that came too late: a session ends before its loop
}

// settleAnswer says what has become of an answer with frames: written, or to be kept
// for the next poll.
func (s *pollSession) settleAnswer(a pollAnswer, written bool) {
	if !s.post(func() { s.settled(written) }) {
		frames.Release(a.frames)
	}
}

// dispatch has messages handled, those behind one that holds the session up
// later. It reports false if the session is over.
func (s *pollSession) dispatch(ctx context.Context, messages []wire.Message) (alive bool) {
	for {
		handled, alive, held := s.tryDispatch(messages)
		if held == nil {
			return alive
		}
		messages = messages[handled:]
		select {
		case <-held:
		case <-ctx.Done(): // the client has gone
			return false
		}
	}
}

// tryDispatch is dispatch until the session is held up: held is closed when the
// rest may be tried.
func (s *pollSession) tryDispatch(messages []wire.Message) (handled int, alive bool, held <-chan struct{}) {
	e := s.socket.endpoint
	e.onLoop(s.socket.loop.Index(), func() {
		alive = !s.socket.closed()
		whole := false
		defer func() {
			if !whole { // a callback has ended the loop's goroutine, and what came behind its message is lost
				s.endSession(netloop.ErrHandlerFailed)
			}
		}()
		for ; handled < len(messages) && !s.socket.closed(); handled++ {
			if held = s.held; held != nil {
				whole = true
				return
			}
			e.counters.messagesIn.Add(1)
			s.socket.perLoop().traffic.bytesIn.Add(int64(len(messages[handled].Payload.Data)))
			s.socket.countWire(sizeOf(&messages[handled]))
			s.socket.dispatch(&messages[handled])
		}
		whole = true
	})
	return handled, alive, held
}

func (s *pollSession) post(f func()) bool { return s.socket.loop.Post(netloop.TaskFunc(f)) }

// What follows is for the loop.

func (s *pollSession) open() {
	s.seen = s.socket.loop.Now()
	s.expiry = time.AfterFunc(s.patience(), func() { s.post(s.expire) })
	s.socket.endpoint.sessions.add(s)
	s.socket.perLoop().polls.addIdle(s)
	s.socket.endpoint.gate.AddSockets(1)
	s.socket.open()
}

// patience is how long a session lives without a poll. Phoenix:
// lib/phoenix/transports/long_poll_server.ex. After a poll whose connection the
// client has closed it is shorter, which Phoenix does not have: the user of a
// page that was closed is gone from presence in seconds.
func (s *pollSession) patience() time.Duration {
	if s.gone {
		return min(s.grace, s.window*3/2)
	}
	return s.window * 3 / 2
}

// polled notes the end of a poll. gone: the connection broke before the client
// had the answer.
func (s *pollSession) polled(gone bool) {
	s.seen, s.gone = s.socket.loop.Now(), gone && s.waiting == nil
	if s.gone {
		s.expiry.Reset(s.patience())
	}
}

// expire ends the session if nobody has polled for long enough. Polls that are
// answered do not touch the timer: it finds out what they have done.
func (s *pollSession) expire() {
	if s.socket.closed() {
		return
	}
	left := s.patience()
	if s.waiting == nil && s.writing == nil {
		left -= s.socket.loop.Now().Sub(s.seen)
	}
	if left > 0 {
		s.expiry.Reset(left)
		return
	}
	s.socket.endpoint.sessions.expired.Add(1)
	s.endSession(errNotPolled)
}

// attach lets a poll wait. One that waits already is answered: its client has
// given it up, or has two.
func (s *pollSession) attach(p *poll) {
	if s.socket.closed() {
		p.answer <- pollAnswer{status: http.StatusGone}
		return
	}
	if s.waiting != nil {
		s.waiting.answer <- pollAnswer{status: http.StatusNoContent}
	}
	s.gone = false
	s.await(p)
	s.flush()
}

// detach ends the waiting of a poll, unless it has been answered. gone: the
// client has closed the connection.
func (s *pollSession) detach(p *poll, gone bool) {
	if s.waiting != p {
		return
	}
	s.await(nil)
	s.polled(gone)
	p.answer <- pollAnswer{status: http.StatusNoContent}
}

// answerBytes is how much one answer has at most, unless a single message is
// larger: an answer is copied as a whole, and what was not written comes again.
const answerBytes = 1 << 20

// flush answers the poll that waits with what there is.
func (s *pollSession) flush() {
	s.woken = false
	if s.waiting == nil || s.writing != nil || len(s.queue) == 0 {
		return
	}
	p, n, size := s.waiting, 0, 0
	for n < len(s.queue) && (n == 0 || size+s.queue[n].Size() <= answerBytes) {
		size += s.queue[n].Size()
		n++
	}
	s.await(nil)
	s.writing, s.queue = s.queue[:n:n], s.queue[n:]
	p.answer <- pollAnswer{status: http.StatusOK, frames: s.writing}
}

// settled takes back the frames of an answer.
func (s *pollSession) settled(written bool) {
	frames := s.writing
	s.writing = nil
	if !s.socket.closed() {
		s.polled(!written)
	}
	if written || s.socket.closed() {
		for _, f := range frames {
			s.size -= s.cost(f)
			f.Release()
		}
	} else {
		s.queue = append(frames, s.queue...)
	}
	s.noteDrained()
	s.flush()
}

func (s *pollSession) lags(part int) bool {
	return s.size >= s.socket.endpoint.limits.OutboundBytes/part
}

func (s *pollSession) notifyDrained() {
	s.awaited = true
	s.noteDrained()
}

// noteDrained keeps the promise of notifyDrained.
func (s *pollSession) noteDrained() {
	if s.awaited && !s.lags(lagOfRenewals) {
		s.awaited = false
		s.post(s.socket.drained)
	}
}

// send keeps a frame for a poll. A poll that waits is answered behind the
// tasks that wait with it, so that it gets all of what they send.
func (s *pollSession) send(f *netloop.Frame) {
	if s.socket.closed() || s.slow || !s.fits(f) {
		f.Release()
		return
	}
	s.queue = append(s.queue, f)
	s.size += s.cost(f)
	if s.waiting != nil && s.writing == nil && !s.woken {
		s.woken = true
		s.post(s.flush)
	}
}

// cost is what a frame counts against Limits.OutboundBytes.
func (s *pollSession) cost(f *netloop.Frame) int {
	return f.Cost(s.socket.endpoint.limits.OutboundBytes)
}

// fits makes room for a frame by Options.SlowReceiver. It reports false if the
// frame is not to be kept.
func (s *pollSession) fits(f *netloop.Frame) bool {
	e := s.socket.endpoint
	limit, n := e.limits.OutboundBytes, s.cost(f)
	if s.size == 0 || s.size+n <= limit {
		return true
	}
	switch e.options.SlowReceiver {
	case DropOldest:
		for len(s.queue) > 0 && s.size+n > limit {
			s.size -= s.cost(s.queue[0])
			s.queue[0].Release()
			s.queue[0], s.queue = nil, s.queue[1:]
			e.sessions.dropped.Add(1)
		}
		if s.size == 0 || s.size+n <= limit {
			return true
		}
		e.sessions.dropped.Add(1) // what is being written fills the room
	case DropNewest:
		e.sessions.dropped.Add(1)
	default:
		// Not at once: a subscriber must not unsubscribe while it is delivered to.
		s.slow = true
		e.sessions.slow.Add(1)
		s.socket.line(zerolog.WarnLevel, "slow receiver disconnected").Str("limit", "outbound_bytes").Write()
		s.post(func() { s.endSession(netloop.ErrSlowReceiver) })
	}
	return false
}

// close ends the session. There is no goodbye: the client learns it from the
// status of its poll.
func (s *pollSession) close(uint16, string) { s.endSession(errServerClosed) }

// drop is close.
func (s *pollSession) drop() { s.endSession(errServerClosed) }

// hold keeps POSTs waiting for their answers.
func (s *pollSession) hold() { s.held = make(chan struct{}) }

func (s *pollSession) resume([]byte) {
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// undeliverable counts a message of bytes.
func (s *pollSession) undeliverable() { s.socket.endpoint.sessions.binary.Add(1) }

func (s *pollSession) name() string { return transportLongpoll }

// endSession ends the session. A poll that waits gets the last messages, if there are
// any; else it is told at once, so that its client reconnects.
func (s *pollSession) endSession(reason error) {
	if s.socket.closed() {
		return
	}
	s.flush()
	s.resume(nil)
	defer s.socket.shutdown(ErrClosed) // last: it calls the application
	s.socket.logClosed(reason)
	s.expiry.Stop()
	s.socket.endpoint.sessions.remove(s)
	s.socket.endpoint.gate.AddSockets(-1)
	s.ticket.Leave()
	if s.waiting != nil {
		s.waiting.answer <- pollAnswer{status: http.StatusGone}
		s.await(nil)
	}
	s.socket.perLoop().polls.removeIdle(s)
	frames.Release(s.queue)
	s.queue = nil
}

// pollSessions are the sessions of an endpoint.
type pollSessions struct {
	// Static after construction.
	node   uint64
	signer *longpoll.Signer

	next                           atomic.Uint32 // the loop of the next session
	expired, slow, dropped, binary atomic.Int64

	mu sync.RWMutex
	by map[longpoll.SessionID]*pollSession
}

func newPollSessions() *pollSessions {
	return &pollSessions{node: rand.Uint64(), signer: longpoll.NewSigner(nil)}
}

// forGuest returns sessions of their own whose tokens say the same node.
func (ps *pollSessions) forGuest() *pollSessions {
	return &pollSessions{node: ps.node, signer: ps.signer}
}

func (ps *pollSessions) find(id longpoll.SessionID) *pollSession {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.by[id]
}

func (ps *pollSessions) add(s *pollSession) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.by == nil {
		ps.by = make(map[longpoll.SessionID]*pollSession)
	}
	ps.by[s.id] = s
}

func (ps *pollSessions) remove(s *pollSession) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.by, s.id)
}

func (ps *pollSessions) stats() LongPollStats {
	ps.mu.RLock()
	sessions := int64(len(ps.by))
	ps.mu.RUnlock()
	return LongPollStats{
		Sessions: sessions, Expired: ps.expired.Load(), Slow: ps.slow.Load(),
		Dropped: ps.dropped.Load(), Binary: ps.binary.Load(),
	}
}
