package share

import "time"

// Bucket admits Rate units a second, with a burst of one second's worth. A Rate of
// 0 or less admits everything. Its owner guards it.
type Bucket struct {
	Rate int

	used float64 // units of Rate in use
	at   time.Time
}

// Take takes n units if as many are left, and reports whether it has.
func (b *Bucket) Take(now time.Time, n float64) bool {
	if b.Rate <= 0 {
		return true
	}
	b.used = max(0, b.used-max(0, now.Sub(b.at).Seconds())*float64(b.Rate)) // loops' clocks differ a little
	b.at = now
	if b.used+n > float64(b.Rate) {
		return false
	}
	b.used += n
	return true
}
