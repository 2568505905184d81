package channels

import "time"

// overhead counts what a socket's client causes beside messages that go
// somewhere, in one second of the clock. It stands where Socket has four bytes left: every
// connection has one. The same second comes again after 18 hours, which may hold
// up a socket that was at its limit in both.
type overhead struct{ second, count uint16 }

// maxHeartbeats is what an overhead can count to.
const maxHeartbeats = 1<<16 - 1

// maxHold is the longest that a socket is held up: its client's own heartbeat
// must still be answered in time (assets/js/phoenix/socket.js, heartbeatIntervalMs).
const maxHold = 10 * time.Second

// add counts n more and returns how long the socket is to be held up: until
// rate has made good what has come; 0 within the rate.
func (o *overhead) add(now time.Time, n, rate int) time.Duration {
	if second := uint16(now.Unix()); o.second != second {
		*o = overhead{second: second}
	}
	o.count = uint16(min(int(o.count)+n, maxHeartbeats))
	if int(o.count) <= rate {
		return 0
	}
	return min(time.Duration(o.count)*time.Second/time.Duration(rate), maxHold)
}

// countOverhead counts one answer to what goes no further, and holds the socket
// up above the rate. Not closed: its client would only come back, and a
// handshake costs more than ten heartbeats.
func (s *Socket) countOverhead() { s.chargeOverhead(1, s.mount.limits.HeartbeatsPerSecond) }

// countFrames counts work that no message shows: see
// [websocket.Handler.HandleOverhead]. Where heartbeats are not limited, the rate
// of messages is that of their fragments too.
func (s *Socket) countFrames(n int) {
	l := s.mount.limits
	rate := l.HeartbeatsPerSecond
	if rate <= 0 {
		rate = l.MessagesPerSecond
	}
	s.chargeOverhead(n, rate)
}

func (s *Socket) chargeOverhead(n, rate int) {
	if rate <= 0 || s.closed {
		return
	}
	if d := s.overhead.add(s.loop.Now(), n, rate); d > 0 {
		s.holdUp(d, "overhead")
	}
}
