package bench

// schedule is when the events of an open loop are due. The times are laid out
// beforehand: an event that a slow server or a late generator holds up keeps
// its own, and so do all that come after it. Latencies are counted from them,
// so a pause of a second shows in every message that was due within it
// (a loop that waits for each answer would send one message in that second,
// and show one slow answer).
type schedule struct {
	start int64   // nanoseconds, as monotonic has them
	rate  float64 // events a second
	n     int64   // events taken
}

// due returns when the next event is due.
func (s *schedule) due() int64 { return s.start + int64(float64(s.n)/s.rate*1e9) }

// takeDue takes the next event if it is due, and returns when it was. If it is
// not, wait is how long it has still to go.
func (s *schedule) takeDue(now int64) (due, wait int64) {
	due = s.due()
	if due > now {
		return 0, due - now
	}
	s.n++
	return due, 0
}
