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
