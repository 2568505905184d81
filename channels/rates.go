package channels

import (
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/wire"
)

// rates are the token buckets of one socket, and those that it shares with the
// others of its endpoint. Owned by the loop.
type rates struct {
	own   buckets
	total *totals // nil without such limits when the socket connected
}

// totals are the token buckets of an endpoint, guarded by mu.
type totals struct {
	mu sync.Mutex
	buckets
}

type buckets struct{ joins, messages, bytes bucket }

// newRates returns nil where there is no limit.
func newRates(l *Limits, t *totals) *rates {
	if l.TotalJoinsPerSecond <= 0 && l.TotalMessagesPerSecond <= 0 && l.TotalBytesPerSecond <= 0 {
		t = nil
	}
	if l.JoinsPerSecond <= 0 && l.MessagesPerSecond <= 0 && l.BytesPerSecond <= 0 && t == nil {
		return nil
	}
	own := buckets{bucket{rate: l.JoinsPerSecond}, bucket{rate: l.MessagesPerSecond}, bucket{rate: l.BytesPerSecond}}
	return &rates{own, t}
}

// set makes the rates those of l.
func (t *totals) set(l *Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joins.rate, t.messages.rate, t.bytes.rate = l.TotalJoinsPerSecond, l.TotalMessagesPerSecond, l.TotalBytesPerSecond
}

// allowed applies the rates; what is too much is answered.
func (s *Socket) allowed(m *wire.Message, event string) bool {
	now := s.loop.Now()
	size := len(m.Payload.Data) + len(m.Topic) + len(m.Event) + len(m.JoinRef) + len(m.Ref)
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
	s.countOverhead()
	s.sendMessageReply(m.JoinRef, m, "error", reasonPayload(reason).Data)
	return false
}

// take returns why a message is too much, or "".
func (b *buckets) take(now time.Time, event string, bytes int) (reason string) {
	switch event {
	case "phx_join":
		if !b.joins.take(now) {
			return reasonJoins
		}
	case "phx_leave": // there is at most one for a join
	default:
		if !b.messages.take(now) {
			return reasonMessages
		}
	}
	if !b.bytes.takeN(now, float64(bytes)) {
		return reasonBytes
	}
	return ""
}

// bucket admits rate events a second, with a burst of one second's worth.
// rate ≤ 0 admits all.
type bucket struct {
	rate int
	used float64 // of rate
	at   time.Time
}

func (b *bucket) take(now time.Time) bool { return b.takeN(now, 1) }

func (b *bucket) takeN(now time.Time, n float64) bool {
	if b.rate <= 0 {
		return true
	}
	b.used = max(0, b.used-max(0, now.Sub(b.at).Seconds())*float64(b.rate)) // loops' clocks differ a little
	b.at = now
	if b.used+n > float64(b.rate) {
		return false
	}
	b.used += n
	return true
}
