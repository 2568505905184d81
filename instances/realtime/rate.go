package realtime

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// rates are the rates of an instance.
type rates struct{ events, joins, presences meter }

const (
	meterTick  = 5 * time.Second
	meterSpan  = time.Minute
	meterTicks = int(meterSpan / meterTick)
)

// meter is the mean rate of something over the last minute, as it was at the last tick
// (lib/realtime/rate_counter). Sampling happens only when the mean is asked for.
type meter struct {
	total func() int64 // counts from the start of the instance; static

	due  atomic.Int64  // when the mean is computed next, in Unix nanoseconds; 0: it never was
	mean atomic.Uint64 // per second, rounded up

	mu      sync.Mutex
	samples []sample // guarded by mu: one a tick, the oldest first
}

type sample struct {
	at    time.Time
	total int64
}

// above reports whether the mean exceeds a limit; 0 means no limit.
func (l *logic) above(m *meter, limit int) bool {
	return limit > 0 && m.perSecond(l.now()) > uint64(limit)
}

// perSecond returns the mean at the last tick.
func (m *meter) perSecond(now time.Time) uint64 {
	if now.UnixNano() >= m.due.Load() {
		m.tick(now)
	}
	return m.mean.Load()
}

// tick takes a sample and computes the mean.
func (m *meter) tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.UnixNano() < m.due.Load() {
		return // another goroutine was first
	}
	m.due.Store(now.Add(meterTick).UnixNano())
	m.samples = append(m.samples, sample{now, m.total()})
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= meterSpan || len(m.samples) > meterTicks+1 {
		m.samples = m.samples[1:]
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	span := max(meterSpan, last.at.Sub(first.at)).Seconds()
	m.mean.Store(uint64(math.Ceil(float64(last.total-first.total) / span)))
}
