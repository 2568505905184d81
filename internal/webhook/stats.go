package webhook

import (
	"sync/atomic"
	"time"
)

// counts are of a [Caller] since its start.
type counts struct{ sent, retries, failed, busy, away atomic.Int64 }

// Stats are figures of a [Caller]. Counters are since its start.
type Stats struct {
	Sent     int64 // requests, with those that were repeated
	Retries  int64 // requests that were repeated
	Failed   int64 // calls that the back end did not answer as it should
	Busy     int64 // calls that were refused because too many waited, or for too long
	Away     int64 // calls that were refused because the back end was away
	InFlight int64 // at present
	Waiting  int64 // at present
	Open     bool  // the back end is considered away
}

// Stats returns the caller's figures.
func (c *Caller) Stats() Stats {
	return Stats{
		Sent: c.counts.sent.Load(), Retries: c.counts.retries.Load(), Failed: c.counts.failed.Load(),
		Busy: c.counts.busy.Load(), Away: c.counts.away.Load(),
		InFlight: int64(len(c.slots)), Waiting: c.waiting.Load(), Open: c.breaker.isOpen(),
	}
}

// Bounds are the upper bounds of a Histogram's buckets. There is one more bucket for what is above.
var Bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations. The zero value is empty; its methods are safe for concurrent use.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Int64
	sum     atomic.Int64 // nanoseconds
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Read returns how many durations fell into each bucket, and the sum of all durations.
func (h *Histogram) Read() (buckets [len(Bounds) + 1]int64, sum time.Duration) {
	for i := range h.buckets {
		buckets[i] = h.buckets[i].Load()
	}
	return buckets, time.Duration(h.sum.Load())
}

// Quantile returns the duration that a part q of those in buckets did not exceed, as those of
// [Histogram.Read]: within a bucket durations count as spread evenly, and above the last bound
// as that bound. It returns 0 if there are none.
func Quantile(buckets []int64, q float64) time.Duration {
	var count int64
	for _, n := range buckets {
		count += n
	}
	rank := q * float64(count)
	var below float64
	var from time.Duration
	for i, n := range buckets[:min(len(buckets), len(Bounds))] {
		if n > 0 && below+float64(n) >= rank {
			return from + time.Duration(float64(Bounds[i]-from)*(rank-below)/float64(n))
		}
		below += float64(n)
		from = Bounds[i]
	}
	if count == 0 {
		return 0
	}
	return from
}
