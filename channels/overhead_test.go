package channels

import (
	"testing"
	"time"
)

func TestOverhead(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var o overhead
	for i := range 10 {
		if d := o.add(at, 1, 10); d != 0 {
			t.Fatalf("number %d is held up for %v", i+1, d)
		}
	}
	for _, c := range []struct {
		number int
		want   time.Duration
	}{{11, 1100 * time.Millisecond}, {30, 3 * time.Second}, {100, 10 * time.Second}, {10_000, maxHold}, {maxHeartbeats + 1, maxHold}} {
		for int(o.count) < c.number-1 && int(o.count) < maxHeartbeats {
			o.add(at, 1, 10)
		}
		if d := o.add(at, 1, 10); d != c.want {
			t.Errorf("number %d is held up for %v, want %v", c.number, d, c.want)
		}
	}
	if d := o.add(at.Add(time.Second), 1, 10); d != 0 {
		t.Errorf("the first of the next second is held up for %v", d)
	}
}

// TestWireDebt: bytes within twice the rate never hold a socket up, more do until
// it has made up for them, and for no longer than maxHold.
func TestWireDebt(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	const rate = 1000
	var w wireDebt
	for range 200 { // 100 a second of 14 bytes of head and mask, and 6 of a message
		if at = at.Add(10 * time.Millisecond); w.add(at, 20, rate) != 0 {
			t.Fatal("a client within its rate is held up")
		}
	}
	at = at.Add(time.Minute)
	if d := w.add(at, 2*rate, rate); d != 0 {
		t.Errorf("a burst of twice the rate is held up for %v", d)
	}
	if d := w.add(at, 2*rate, rate); d != time.Second {
		t.Errorf("twice as much is held up for %v, want 1s", d)
	}
	if d := w.add(at.Add(time.Second), 2, rate); d < time.Millisecond || d > 20*time.Millisecond {
		t.Errorf("two bytes too many are held up for %v", d)
	}
	if d := w.add(at, 1<<40, rate); d != maxHold {
		t.Errorf("a terabyte is held up for %v, want %v", d, maxHold)
	}
}
