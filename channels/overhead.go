package channels

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// overhead counts what a socket has been answered although it goes no further,
// in one second of the clock. It stands where Socket has four bytes left: every
// connection has one. The same second comes again after 18 hours, which may hold
// up a socket that was at its limit in both.
type overhead struct{ second, count uint16 }

// maxHeartbeats is what an overhead can count to.
const maxHeartbeats = 1<<16 - 1

// maxHold is the longest that a socket is held up: its client's own heartbeat
// must still be answered in time (assets/js/phoenix/socket.js, heartbeatIntervalMs).
const maxHold = 10 * time.Second

// add counts one more and returns how long the socket is to be held up: until
// rate has made good what has come; 0 within the rate.
func (o *overhead) add(now time.Time, rate int) time.Duration {
	if second := uint16(now.Unix()); o.second != second {
		*o = overhead{second: second}
	}
	if o.count < maxHeartbeats {
		o.count++
	}
	if int(o.count) <= rate {
		return 0
	}
	return min(time.Duration(o.count)*time.Second/time.Duration(rate), maxHold)
}

// countOverhead counts one answer, and holds the socket up above the rate. Not
// closed: its client would only come back, and a handshake costs more than ten
// heartbeats.
func (s *Socket) countOverhead() {
	rate := s.mount.limits.HeartbeatsPerSecond
	if rate <= 0 {
		return
	}
	if d := s.overhead.add(s.loop.Now(), rate); d > 0 && !s.closed {
		s.holdUp(d)
	}
}

// holdUp holds the client up for d, or for that much from now on if it is held
// up already. What has been read is still handled.
func (s *Socket) holdUp(d time.Duration) {
	l := s.perLoop()
	_, held := l.held[s]
	if l.held == nil {
		l.held = make(map[*Socket]time.Time)
	}
	l.held[s] = s.loop.Now().Add(d)
	if held {
		return
	}
	s.endpoint.counters.heldUp.Add(1)
	s.log().Debug().Str("id", s.ID()).Int("per_second", s.mount.limits.HeartbeatsPerSecond).
		Msg("socket held up: too many heartbeats, pings or refused messages")
	s.transport.hold()
	s.resumeIn(d)
}

func (s *Socket) resumeIn(d time.Duration) {
	time.AfterFunc(d, func() { s.loop.Post(netloop.TaskFunc(s.resume)) })
}

// resume lets a client that was held up go on, when it is time.
func (s *Socket) resume() {
	l := s.perLoop()
	if left := l.held[s].Sub(s.loop.Now()); left > 0 && !s.closed {
		s.resumeIn(left)
		return
	}
	delete(l.held, s)
	if !s.closed {
		s.transport.resume()
	}
}
