package bench

import "testing"

const (
	millisecond = int64(1e6)
	second      = int64(1e9)
)

func TestSchedule(t *testing.T) {
	s := schedule{start: second, rate: 100}
	const microsecond = 1000 // smaller differences are rounding errors
	for k := range int64(1000) {
		at := second + k*10*millisecond
		if _, wait := s.takeDue(at - microsecond); wait < microsecond-10 || wait > microsecond {
			t.Fatalf("event %d a microsecond early: wait %d", k, wait)
		}
		if due, wait := s.takeDue(at + microsecond); due < at-10 || due > at || wait != 0 {
			t.Fatalf("event %d is due at %d, wait %d, want %d", k, due, wait, at)
		}
	}
}

// TestScheduleDrift checks that a rate whose interval is not a whole number of
// nanoseconds does not drift.
func TestScheduleDrift(t *testing.T) {
	s := schedule{rate: 7, n: 7 * 86400}
	if due := s.due(); due != 86400*second {
		t.Errorf("after a day the event is due at %d", due)
	}
}

// TestScheduleHidesNoPause checks that a pause of the server shows in every message
// that was due in it: with 100 messages a second over 10 s and a pause of 1 s, one
// in twenty waits for half a second or longer. Counted from when they were sent,
// only the first one would.
func TestScheduleHidesNoPause(t *testing.T) {
	s := schedule{rate: 100}
	due, sent := new(histogram), new(histogram)
	clock := int64(0)
	for s.n < 1000 {
		at, wait := s.takeDue(clock)
		if wait > 0 {
			clock += wait
			continue
		}
		begun := clock
		if clock >= 5*second && clock < 6*second {
			clock = 6 * second // the server answers when it is back
		}
		clock += millisecond / 10
		due.add(clock - at)
		sent.add(clock - begun)
	}
	if got := due.quantile(.95); got < 400*millisecond {
		t.Errorf("one in twenty waited longer than %d ms, want 500", got/millisecond)
	}
	if got := sent.quantile(.998); got > millisecond {
		t.Errorf("counted from when they were sent, messages show the pause too: %d ms", got/millisecond)
	}
}
