package bench

// schedule has the times at which the events of an open loop are due. The times are
// fixed in advance: an event delayed by a slow server or a late generator keeps its
// due time, as do all later events. Latencies are counted from the due times, so a
// pause of a second shows in every message that was due in that second. (A loop that
// waits for each answer would send one message in that second, and show one slow
// answer.)
type schedule struct {
	start int64   // nanoseconds of monotonic
	rate  float64 // events a second
	n     int64   // events taken
}

// due returns when the next event is due.
func (s *schedule) due() int64 { return s.start + int64(float64(s.n)/s.rate*1e9) }

// takeDue takes the next event if it is due, and returns its due time. If it is not
// due yet, takeDue returns how long to wait.
func (s *schedule) takeDue(now int64) (due, wait int64) {
	due = s.due()
	if due > now {
		return 0, due - now
	}
	s.n++
	return due, 0
}
