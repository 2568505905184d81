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
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/longpoll"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// pollSession is a socket's connection by long polling: it keeps frames until a
// poll takes them, and needs no goroutine meanwhile. Requests are served on
// goroutines of net/http, which post tasks to the session's loop.
//
// At most one answer is on its way to the client. Until it has been settled, a
// further poll waits, so that messages that could not be written can come first
// in the next answer.
type pollSession struct {
	// Static after start.
	socket Socket
	id     longpoll.SessionID
	ticket *admission.Ticket
	window time.Duration
	grace  time.Duration

	// Owned by the loop.
	queue   []*netloop.Frame // wait for a poll
	size    int              // of queue and writing, as counted against Limits.OutboundBytes
	waiting *poll            // nil: no poll waits; see await
	place   *list.Element    // in idlePolls; nil while it is not there
	writing []*netloop.Frame // are being written by a request
	writes  uint32           // the poll that they answer
	seen    time.Time        // when the last poll ended
	gone    bool             // the last poll's connection broke before its client had the answer
	polls   uint32           // so far
	expiry  *time.Timer
	woken   bool          // a task that answers the waiting poll has been posted
	slow    bool          // being ended by DisconnectSlow
	awaited bool          // notifyDrained was called
	held    chan struct{} // closed when POSTs may go on; nil: they may
	probed  pollProbe
}

// poll is a waiting GET. The loop answers each exactly once.
type poll struct{ answer chan pollAnswer }

// pollProbe is the probe that a session has yet to confirm (see transport.probe). It is
// confirmed with Socket.confirmed, because polls come from the client's program. The
// numbers of frames and polls wrap around.
type pollProbe struct {
	number uint32 // 0: there is none
	behind uint32 // how many frames must have been taken
	queued uint32 // frames queued so far
	taken  uint32 // of these, given to the client or dropped
	last   uint32 // the poll whose answer had the last frames that were taken
	after  uint32 // the poll whose answer had the last of the frames of behind that were taken
}

// pollsBehind is how many polls after an answer show that the client's program has it. phoenix.js
// polls again at once, handles the messages in tasks of their own, and drops those
// that have not begun if a request fails in that moment (assets/js/phoenix/longpoll.js, poll and
// stop). When it polls once more, it has been answered in between.
const pollsBehind = 2

// pollAnswer is the answer to a poll: 200 with frames, 204 without, or 410 if
// the session is over.
type pollAnswer struct {
	status int
	frames []*netloop.Frame // must be settled
	poll   uint32           // which of the session's polls it answers
}

func newPollSession(e *Endpoint, m *mount) *pollSession {
	loops := e.tenant.Lanes()
	s := &pollSession{id: longpoll.NewSessionID(), window: m.options.LongPoll.Window, grace: m.options.LongPoll.Grace}
	s.socket.endpoint, s.socket.mount, s.socket.transport = e, m, s
	s.socket.key.Framing = frames.LongPoll
	s.socket.loop = loops[e.sessions.next.Add(1)%uint32(len(loops))]
	return s
}

// Methods for requests, on any goroutine except a loop's.

// start makes the session known. It returns false if the endpoint is draining.
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
	return <-p.answer // there is an answer even if detach came too late: a session ends before its loop
}

// settleAnswer reports the fate of an answer with frames: written, or to be
// kept for the next poll.
func (s *pollSession) settleAnswer(a pollAnswer, written bool) {
	if !s.post(func() { s.settled(written) }) {
		frames.Release(a.frames)
	}
}

// answerLost notes that the client closed its connection before it had read an answer
// that was written. The messages of the answer are lost, and the client counts as gone
// unless it has polled again.
func (s *pollSession) answerLost(a pollAnswer) {
	s.post(func() {
		if !s.socket.closed() && s.polls == a.poll {
			s.gone = true
			s.expire()
		}
	})
}

// dispatch handles messages. If one of them holds the session up, the others
// wait. It returns false if the session is over.
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

// tryDispatch handles messages until the session is held up: held is closed
// when the rest may be tried.
func (s *pollSession) tryDispatch(messages []wire.Message) (handled int, alive bool, held <-chan struct{}) {
	e := s.socket.endpoint
	e.onLoop(s.socket.loop.Index(), func() {
		alive = !s.socket.closed()
		whole := false
		defer func() {
			if !whole { // a callback has ended the loop's goroutine, and the messages after this one are lost
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

// The following methods are for the loop.

func (s *pollSession) open() {
	s.seen = s.socket.loop.Now()
	s.expiry = time.AfterFunc(s.patience(), func() { s.post(s.expire) })
	s.socket.endpoint.sessions.add(s)
	s.socket.perLoop().polls.addIdle(s)
	s.socket.endpoint.gate.AddSockets(1)
	s.socket.open()
}

// patience returns how long a session lives without a poll (Phoenix:
// lib/phoenix/transports/long_poll_server.ex). After a poll whose connection
// the client has closed it is shorter than in Phoenix, so that the user of a
// closed page leaves presence within seconds.
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

// expire ends the session if it has not been polled for too long. Answered
// polls do not touch the timer, which checks when it fires.
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

// attach makes a poll wait. A poll that waits already is answered: its client
// has given it up, or has two.
func (s *pollSession) attach(p *poll) {
	if s.socket.closed() {
		p.answer <- pollAnswer{status: http.StatusGone}
		return
	}
	if s.waiting != nil {
		s.waiting.answer <- pollAnswer{status: http.StatusNoContent}
	}
	s.gone = false
	s.polls++
	s.await(p)
	s.confirm()
	s.flush()
}

// detach ends the wait of a poll, unless it has been answered. gone means that
// the client has closed the connection.
func (s *pollSession) detach(p *poll, gone bool) {
	if s.waiting != p {
		return
	}
	s.await(nil)
	s.polled(gone)
	p.answer <- pollAnswer{status: http.StatusNoContent, poll: s.polls}
}

// answerBytes is the largest size of one answer, unless a single message is
// larger: an answer is copied as a whole, and sent again if it was not written.
const answerBytes = 1 << 20

// flush answers the waiting poll with the queued frames.
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
	s.writing, s.queue, s.writes = s.queue[:n:n], s.queue[n:], s.polls
	p.answer <- pollAnswer{status: http.StatusOK, frames: s.writing, poll: s.polls}
}

// settled releases the frames of an answer, or puts them back into the queue.
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
		s.probed.take(len(frames), s.writes)
		s.confirm()
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

// noteDrained posts the call that notifyDrained asked for.
func (s *pollSession) noteDrained() {
	if s.awaited && !s.lags(lagOfRenewals) {
		s.awaited = false
		s.post(s.socket.drained)
	}
}

// send keeps a frame for a poll. A waiting poll is answered after the tasks
// that wait now, so that it gets everything that they send.
func (s *pollSession) send(f *netloop.Frame) {
	if s.socket.closed() || s.slow || !s.fits(f) {
		f.Release()
		return
	}
	s.queue = append(s.queue, f)
	s.probed.queued++
	s.size += s.cost(f)
	if s.waiting != nil && s.writing == nil && !s.woken {
		s.woken = true
		s.post(s.flush)
	}
}

// cost returns what a frame counts against Limits.OutboundBytes.
func (s *pollSession) cost(f *netloop.Frame) int {
	return f.Cost(s.socket.endpoint.limits.OutboundBytes)
}

// fits makes room for a frame according to Options.SlowReceiver. It returns
// false if the frame must be dropped.
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
			s.probed.taken++
			e.sessions.dropped.Add(1)
		}
		if s.size == 0 || s.size+n <= limit {
			return true
		}
		e.sessions.dropped.Add(1) // the answer being written takes the whole limit
	case DropNewest:
		e.sessions.dropped.Add(1)
	default:
		// Not at once: a subscriber must not unsubscribe during a dispatch.
		s.slow = true
		e.sessions.slow.Add(1)
		s.socket.line(zerolog.WarnLevel, "slow receiver disconnected").Str("limit", "outbound_bytes").Write()
		s.post(func() { s.endSession(netloop.ErrSlowReceiver) })
	}
	return false
}

// close ends the session. There is no Close frame: the client learns of it by
// the status of its poll.
func (s *pollSession) close(code uint16, _ string) { s.endSession(serverClose(code)) }

// drop does the same as close.
func (s *pollSession) drop() { s.endSession(serverClose(0)) }

// settle does nothing: net/http reads the requests of all sessions alike.
func (s *pollSession) settle() {}

// hold makes POSTs wait for their answers.
func (s *pollSession) hold() { s.held = make(chan struct{}) }

func (s *pollSession) resume([]byte) {
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// undeliverable counts a binary message.
func (s *pollSession) undeliverable() { s.socket.endpoint.sessions.binary.Add(1) }

// take notes that the answer to a poll has brought frames.
func (p *pollProbe) take(frames int, poll uint32) {
	if !p.reached() {
		p.after = poll
	}
	p.last = poll
	p.taken += uint32(frames)
}

// reached reports whether all frames before the probe have been taken.
func (p *pollProbe) reached() bool { return int32(p.taken-p.behind) >= 0 }

// probe waits until the client has taken what was sent, and has polled pollsBehind times
// since.
func (s *pollSession) probe(p probe) {
	number := p.number()
	if number == 0 { // a session that is not polled ends soon
		s.socket.answered(p)
		return
	}
	if s.probed.number != number {
		s.probed.number, s.probed.behind, s.probed.after = number, s.probed.queued, s.probed.last
	}
	s.confirm()
}

// confirm answers a probe if the client has shown that it has everything before it.
func (s *pollSession) confirm() {
	p := &s.probed
	if p.number == 0 || s.waiting == nil || s.writing != nil || !p.reached() || int32(s.polls-p.after) < pollsBehind {
		return
	}
	number := p.number
	p.number = 0
	s.socket.confirmed(number)
}

func (s *pollSession) name() string { return transportLongpoll }

// endSession ends the session. A waiting poll gets the last messages, if there
// are any, or else the end of the session, so that its client reconnects.
func (s *pollSession) endSession(reason error) {
	if s.socket.closed() {
		return
	}
	s.flush()
	s.resume(nil)
	defer s.socket.shutdown(reason) // last: it calls the application
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
	issuer *pollIssuer // shared by a host and its guests

	next                           atomic.Uint32 // the loop of the next session
	expired, slow, dropped, binary atomic.Int64

	mu sync.RWMutex
	by map[longpoll.SessionID]*pollSession
}

// pollIssuer signs the tokens of sessions. It does not change once requests come.
type pollIssuer struct {
	node    uint64
	signer  *longpoll.Signer
	forward *forward.Node // finds the nodes of other sessions; nil: there are none
}

func newPollSessions() *pollSessions {
	return &pollSessions{issuer: &pollIssuer{node: rand.Uint64(), signer: longpoll.NewSigner(nil)}}
}

// forGuest returns sessions for a guest, whose tokens name the same node.
func (ps *pollSessions) forGuest() *pollSessions { return &pollSessions{issuer: ps.issuer} }

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
