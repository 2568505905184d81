package channels

import "time"

// overhead counts the work that a client causes beside messages for channels, in one
// second of the clock. It fits into four bytes that Socket has left. Seconds repeat
// after 18 hours; a socket that is at its limit in both may be held up.
type overhead struct{ second, count uint16 }

// maxHeartbeats is the most that an overhead can count.
const maxHeartbeats = 1<<16 - 1

// maxHold bounds how long a socket is held up: its client's heartbeat must be
// answered in time (assets/js/phoenix/socket.js, heartbeatIntervalMs).
const maxHold = 10 * time.Second

// add counts n more and returns how long to hold the socket up: the time that the
// rate needs for what has come, 0 within the rate.
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

// countOverhead counts the answer to a message that reaches no channel, and holds
// the socket up above the rate. It does not close the socket: the client would
// reconnect, and a handshake costs more than ten heartbeats.
func (s *Socket) countOverhead() { s.chargeOverhead(1, s.mount.limits.HeartbeatsPerSecond) }

// countFrames counts work that no message shows (see
// [websocket.Handler.HandleOverhead]). If heartbeats are not limited, the rate of
// messages applies.
func (s *Socket) countFrames(n int) {
	l := s.mount.limits
	rate := l.HeartbeatsPerSecond
	if rate <= 0 {
		rate = l.MessagesPerSecond
	}
	s.chargeOverhead(n, rate)
}

func (s *Socket) chargeOverhead(n, rate int) {
	if rate <= 0 || s.closed() {
		return
	}
	if d := s.overhead.add(s.loop.Now(), n, rate); d > 0 {
		s.holdUp(d, "overhead")
	}
}
