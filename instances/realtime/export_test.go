package realtime

import "time"

// WithClock returns options for which rates have another clock.
func WithClock(o Options, now func() time.Time) Options {
	o.now = now
	return o
}
