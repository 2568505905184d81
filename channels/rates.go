package channels

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/share"
	"github.com/mycelium-rt/mycelium/wire"
)

// rates are the token buckets of one socket, and those that it shares with the
// others of its endpoint. Owned by the loop.
type rates struct {
	own   buckets
	wire  wireDebt
	total *totals // nil without such limits when the socket connected
}

// totals are the token buckets of an endpoint, guarded by mu.
type totals struct {
	mu sync.Mutex
	buckets
}

type buckets struct{ joins, messages, bytes share.Bucket }

// newRates returns nil where there is no limit.
func newRates(l *Limits, t *totals) *rates {
	if l.TotalJoinsPerSecond <= 0 && l.TotalMessagesPerSecond <= 0 && l.TotalBytesPerSecond <= 0 {
		t = nil
	}
	if l.JoinsPerSecond <= 0 && l.MessagesPerSecond <= 0 && l.BytesPerSecond <= 0 && t == nil {
		return nil
	}
	own := buckets{share.Bucket{Rate: l.JoinsPerSecond}, share.Bucket{Rate: l.MessagesPerSecond}, share.Bucket{Rate: l.BytesPerSecond}}
	return &rates{own: own, total: t}
}

// set makes the rates those of l.
func (t *totals) set(l *Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joins.Rate, t.messages.Rate, t.bytes.Rate = l.TotalJoinsPerSecond, l.TotalMessagesPerSecond, l.TotalBytesPerSecond
}

// allowed applies the rates; what is too much is answered.
func (s *Socket) allowed(m *wire.Message, event string) bool {
	now := s.loop.Now()
	size := sizeOf(m)
	reason := s.rates.own.take(now, event, size)
	if t := s.rates.total; t != nil && reason == "" {
		t.mu.Lock()
		reason = t.take(now, event, size)
		t.mu.Unlock()
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

// sizeOf is what the rates of bytes count of a message.
func sizeOf(m *wire.Message) int {
	return len(m.Payload.Data) + len(m.Topic) + len(m.Event) + len(m.JoinRef) + len(m.Ref)
}

// take returns why a message is too much, or "".
func (b *buckets) take(now time.Time, event string, bytes int) (reason string) {
	switch event {
	case "phx_join":
		if !b.joins.Take(now, 1) {
			return reasonJoins
		}
	case "phx_leave": // there is at most one for a join
	default:
		if !b.messages.Take(now, 1) {
			return reasonMessages
		}
	}
	if !b.bytes.Take(now, float64(bytes)) {
		return reasonBytes
	}
	return ""
}

// wireDebt is how many bytes a client has sent beyond its rate. Messages are
// refused above the rate; refusing costs work too, and control frames, fragments
// and messages that never end are no messages. So a socket whose bytes on the wire
// exceed the rate by wireSlack is not read until it has made up for them.
type wireDebt struct {
	bytes float64
	at    time.Time
}

// wireSlack is how many times BytesPerSecond may come before a socket is held up:
// twice, so that the heads of frames of a client within its rate never count.
const wireSlack = 2

// add counts n bytes and returns for how long the socket is to be held up.
func (w *wireDebt) add(now time.Time, n, rate int) time.Duration {
	allowed := wireSlack * float64(rate)
	w.bytes = max(0, w.bytes-max(0, now.Sub(w.at).Seconds())*allowed) + float64(n)
	w.at = now
	// Not more than maxHold makes up for: what a client sent in one burst is forgiven then.
	w.bytes = min(w.bytes, allowed*(1+maxHold.Seconds()))
	over := w.bytes - allowed
	if over <= 0 {
		return 0
	}
	return max(time.Duration(over/allowed*float64(time.Second)), minHold)
}

// minHold is the shortest time for which a socket is not read.
const minHold = 10 * time.Millisecond

// countWire counts bytes that came from the client, and holds the socket up above
// the rate.
func (s *Socket) countWire(n int) {
	if s.rates == nil || s.rates.own.bytes.Rate <= 0 || s.closed {
		return
	}
	if d := s.rates.wire.add(s.loop.Now(), n, s.rates.own.bytes.Rate); d > 0 {
		s.holdUp(d, "bytes")
	}
}
