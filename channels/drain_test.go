package channels

import (
	"slices"
	"testing"
	"time"
)

func TestAllot(t *testing.T) {
	for _, c := range []struct {
		n            int
		counts, want []int
	}{
		{1, []int{5, 5, 5, 5}, []int{1, 0, 0, 0}},
		{4, []int{5, 5, 5, 5}, []int{1, 1, 1, 1}},
		{6, []int{5, 5, 5, 5}, []int{2, 2, 1, 1}},
		{10, []int{0, 100, 0, 1}, []int{0, 9, 0, 1}},
		{10, []int{2, 1}, []int{2, 1}},
		{0, []int{3}, []int{0}},
		{7, nil, []int{}},
	} {
		if got := allot(c.n, c.counts); !slices.Equal(got, c.want) {
			t.Errorf("%d among %v: %v, want %v", c.n, c.counts, got, c.want)
		}
	}
	for n := range 40 {
		for first := range 9 {
			counts := []int{first, 7, 0, 12, 1}
			sum, all := 0, first+20
			for i, quota := range allot(n, counts) {
				if sum += quota; quota > counts[i] || quota < 0 {
					t.Errorf("%d among %v: %d", n, counts, quota)
				}
			}
			if sum != min(n, all) {
				t.Errorf("%d among %v: %d in all", n, counts, sum)
			}
		}
	}
}

// TestPaceAmong: several nodes close no more together than one would alone.
func TestPaceAmong(t *testing.T) {
	for _, c := range []struct {
		batch, nodes, want int
		every              time.Duration
	}{
		{10_000, 1, 10_000, 2 * time.Second},
		{10_000, 4, 2500, 2 * time.Second},
		{10, 3, 3, 1800 * time.Millisecond},
		{1, 3, 1, 6 * time.Second},
		{0, 2, 1, 4 * time.Second},
	} {
		d := Drain{Batch: c.batch, Interval: 2 * time.Second}
		if got := d.among(c.nodes); got.Batch != c.want || got.Interval != c.every {
			t.Errorf("%d among %d: %d every %s, want %d every %s", c.batch, c.nodes, got.Batch, got.Interval, c.want, c.every)
		}
	}
}

// TestPaceSpread: a large batch is closed in small parts at the same rate, and a small one
// at once.
func TestPaceSpread(t *testing.T) {
	for _, c := range []struct {
		batch, want     int
		interval, every time.Duration
	}{
		{10_000, 250, 2 * time.Second, 50 * time.Millisecond},
		{1000, 100, 2 * time.Second, 200 * time.Millisecond},
		{1050, 105, 2 * time.Second, 200 * time.Millisecond},
		{1 << 20, 52428, time.Second, 50 * time.Millisecond},
		{199, 199, time.Hour, time.Hour},
		{10_000, 10_000, 20 * time.Millisecond, 20 * time.Millisecond},
		{0, 0, time.Second, time.Second},
	} {
		got := Drain{Batch: c.batch, Interval: c.interval}.spread()
		if off := got.Interval - c.every; got.Batch != c.want || off.Abs() > time.Millisecond {
			t.Errorf("%d every %s: %d every %s, want %d every %s", c.batch, c.interval, got.Batch, got.Interval, c.want, c.every)
		}
	}
}

// TestPacer: at most one batch is granted in an interval, whoever asks, and unused grants
// are available to others.
func TestPacer(t *testing.T) {
	var p pacer
	d := Drain{Batch: 10, Interval: time.Second}
	start := time.Now()
	for _, c := range []struct {
		after   time.Duration
		n, want int
		next    time.Duration
	}{
		{0, 3, 3, time.Second},
		{300 * time.Millisecond, 3, 3, 700 * time.Millisecond},
		{400 * time.Millisecond, 100, 4, 600 * time.Millisecond},
		{900 * time.Millisecond, 1, 0, 100 * time.Millisecond},
		{time.Second, 12, 10, time.Second},
		{1999 * time.Millisecond, 1, 0, time.Millisecond},
		{5 * time.Second, 4, 4, time.Second},
	} {
		if got, next := p.takeCloses(start.Add(c.after), d, c.n); got != c.want || next != c.next {
			t.Errorf("after %v: %d, next in %v; want %d, %v", c.after, got, next, c.want, c.next)
		}
	}
	p.giveBack(4)
	if got, _ := p.takeCloses(start.Add(5*time.Second), d, 100); got != 10 {
		t.Errorf("after giving back: %d", got)
	}
}
