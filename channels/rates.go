package channels

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/wire"
)

// rates is what one socket has used of its limits per second. Every connection
// has one, so it takes 20 bytes: the limits are in its mount, and all four
// buckets share one time.
type rates = buckets[float32]

// totals is what all sockets of an endpoint have used, guarded by mu. Its
// limits may change; limited reports whether there are any.
type totals struct {
	limited atomic.Bool
	mu      sync.Mutex
	limits  rateLimits
	used    buckets[float64]
}

// rateLimits are limits per second; 0 or less means no limit.
type rateLimits struct{ joins, messages, bytes int }

func (l rateLimits) any() bool { return l.joins > 0 || l.messages > 0 || l.bytes > 0 }

// ownRates returns the limits of one socket.
func (l *Limits) ownRates() rateLimits {
	return rateLimits{l.JoinsPerSecond, l.MessagesPerSecond, l.BytesPerSecond}
}

// set replaces the limits with those of l.
func (t *totals) set(l *Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = rateLimits{l.TotalJoinsPerSecond, l.TotalMessagesPerSecond, l.TotalBytesPerSecond}
	t.limited.Store(t.limits.any())
}

// takeRates returns why a message exceeds the limits of all sockets together,
// or "".
func (t *totals) takeRates(now time.Time, event string, bytes int) (reason string) {
	if !t.limited.Load() {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used.takeRates(now, t.limits, event, bytes)
}

// allowed applies the rates, and answers a message that exceeds them.
func (s *Socket) allowed(m *wire.Message, event string) bool {
	own, total := s.mount.limits.ownRates(), &s.endpoint.totals
	if !own.any() && !total.limited.Load() {
		return true
	}
	now, size := s.loop.Now(), sizeOf(m)
	reason := s.rates.takeRates(now, own, event, size)
	if reason == "" {
		reason = total.takeRates(now, event, size)
	}
	if reason == "" {
		return true
	}
	s.endpoint.counters.rateLimited.Add(1)
	s.line(zerolog.DebugLevel, "message refused by a rate").Str("reason", reason).Write()
	s.countOverhead()
	s.countWire(size) // decoded: of a compressed message, only what has come was counted
	s.sendMessageReply(m.JoinRef, m, "error", reasonPayload(reason).Data)
	return false
}

// sizeOf returns the size of a message for the rates of bytes.
func sizeOf(m *wire.Message) int {
	return len(m.Payload.Data) + len(m.Topic) + len(m.Event) + len(m.JoinRef) + len(m.Ref)
}

// buckets count what was used of each limit. A bucket admits as many events a
// second as its limit, with a burst of one second's worth. F is float32 if
// there are many buckets: exact up to 16 million a second, and to a millionth
// above.
type buckets[F float32 | float64] struct {
	at                     stamp // when they were last emptied
	joins, messages, bytes F
	wire                   F // bytes on the wire: see addWire
}

// stamp is a time in milliseconds. It wraps after 49 days.
type stamp uint32

var firstStamp = time.Now()

func stampOf(now time.Time) stamp { return stamp(now.Sub(firstStamp).Milliseconds()) }

// clocksDiffer is how far the clock of a loop may be behind another's.
const clocksDiffer = time.Minute

// drain empties the buckets at the rate of their limits for the time since the
// last call.
func (b *buckets[F]) drain(now time.Time, l rateLimits) {
	at := stampOf(now)
	since := time.Duration(int32(at-b.at)) * time.Millisecond
	switch {
	case since == 0, since < 0 && since > -clocksDiffer:
		return
	case since < 0: // more than 24 days
		*b = buckets[F]{at: at}
		return
	}
	b.at = at
	seconds := F(since.Seconds())
	b.joins = max(0, b.joins-seconds*F(l.joins))
	b.messages = max(0, b.messages-seconds*F(l.messages))
	b.bytes = max(0, b.bytes-seconds*F(l.bytes))
	b.wire = max(0, b.wire-seconds*wireSlack*F(l.bytes))
}

// takeRates returns why a message is too much, or "".
func (b *buckets[F]) takeRates(now time.Time, l rateLimits, event string, bytes int) (reason string) {
	b.drain(now, l)
	switch event {
	case "phx_join":
		if !takeFrom(&b.joins, l.joins, 1) {
			return reasonJoins
		}
	case "phx_leave": // there is at most one for a join
	default:
		if !takeFrom(&b.messages, l.messages, 1) {
			return reasonMessages
		}
	}
	if !takeFrom(&b.bytes, l.bytes, bytes) {
		return reasonBytes
	}
	return ""
}

// takeFrom uses n of a limit if there is room, and reports whether it has.
func takeFrom[F float32 | float64](used *F, limit, n int) bool {
	if limit <= 0 {
		return true
	}
	if *used+F(n) > F(limit) {
		return false
	}
	*used += F(n)
	return true
}

// addWire counts n bytes on the wire and returns how long to hold the socket
// up. Messages above the rate are refused, but refusing costs work too, and
// control frames, fragments and unfinished messages are not messages. So a
// socket whose bytes exceed the rate by wireSlack is not read until it has made
// up for them.
func (b *buckets[F]) addWire(now time.Time, l rateLimits, n int) time.Duration {
	b.drain(now, l)
	allowed := wireSlack * F(l.bytes)
	// Count no more than maxHold makes up for; the rest of a burst is forgiven.
	b.wire = min(b.wire+F(n), allowed*F(1+maxHold.Seconds()))
	over := b.wire - allowed
	if over <= 0 {
		return 0
	}
	return max(time.Duration(over/allowed*F(time.Second)), minHold)
}

// wireSlack is how many times BytesPerSecond may come before a socket is held
// up: twice, so that the frame heads of a client within its rate never matter.
const wireSlack = 2

// minHold is the shortest hold of a socket.
const minHold = 10 * time.Millisecond

// countWire counts bytes that came from the client, and holds the socket up above
// the rate.
func (s *Socket) countWire(n int) {
	l := s.mount.limits
	if l.BytesPerSecond <= 0 || s.closed() {
		return
	}
	if d := s.rates.addWire(s.loop.Now(), l.ownRates(), n); d > 0 {
		s.holdUp(d, "bytes")
	}
}
