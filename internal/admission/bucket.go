package admission

import "time"

// bucket admits rate units a second, with a burst of one second's worth. Its owner
// guards it.
type bucket struct {
	used float64 // of the rate
	at   time.Time
}

// take takes a unit, and reports whether there was one. rate is positive.
func (b *bucket) take(now time.Time, rate int) bool {
	b.used = max(0, b.used-max(0, now.Sub(b.at).Seconds())*float64(rate)) // clocks may differ a little
	b.at = now
	if b.used+1 > float64(rate) {
		return false
	}
	b.used++
	return true
}
