package webhook

import (
	"testing"
	"time"
)

// call makes a call at a time, and reports whether it was let through.
func (b *breaker) call(at time.Time, works bool) bool {
	ok, probe := b.allow(at)
	if ok {
		b.report(at, probe, works)
	}
	return ok
}

// TestBreakerOpens: at the fifth failure, if half of the last calls failed.
func TestBreakerOpens(t *testing.T) {
	var b breaker
	now := time.Now()
	for range 4 {
		b.call(now, false)
	}
	if !b.call(now, false) {
		t.Fatal("open after four failures")
	}
	if b.call(now, true) || !b.isOpen() {
		t.Fatal("closed after five failures")
	}

	b = breaker{}
	for range 20 {
		b.call(now, true)
	}
	for i := range 10 {
		if !b.call(now, false) {
			t.Fatalf("open after %d failures of 20 calls", i)
		}
	}
	if b.call(now, true) {
		t.Fatal("closed after 10 failures of 20 calls")
	}
}

// TestBreakerProbes: one call at a time, with longer and longer pauses, until one succeeds.
func TestBreakerProbes(t *testing.T) {
	var b breaker
	now := time.Now()
	for range opensAfter {
		b.call(now, false)
	}
	probes, first := 0, time.Duration(0)
	for at := now; at.Before(now.Add(5 * time.Minute)); at = at.Add(100 * time.Millisecond) {
		if b.call(at, false) {
			if probes++; probes == 1 {
				first = at.Sub(now)
			}
		}
	}
	if first < firstPause*3/4 || first > firstPause*3/2 {
		t.Errorf("the first probe came after %v", first)
	}
	if probes < 10 || probes > 20 {
		t.Errorf("%d probes in five minutes", probes)
	}

	at := now.Add(10 * time.Minute)
	ok, probe := b.allow(at)
	if !ok || !probe {
		t.Fatal("no probe after ten minutes")
	}
	if again, _ := b.allow(at); again {
		t.Error("two probes at once")
	}
	b.forget(probe)
	if ok, probe = b.allow(at); !ok || !probe {
		t.Error("no probe after one that was given up")
	}
	if changed := b.report(at, probe, true); !changed || b.isOpen() {
		t.Error("open after a probe that succeeded")
	}
	b.call(at, false)
	if b.isOpen() {
		t.Error("old failures count after the breaker closed")
	}
}

// TestBreakerLate: calls from before the breaker opened do not count as probes, but their success closes it.
func TestBreakerLate(t *testing.T) {
	var b breaker
	now := time.Now()
	for range opensAfter {
		b.call(now, false)
	}
	b.report(now, false, false)
	later := now.Add(2 * time.Second)
	ok, probe := b.allow(later)
	if !ok || !probe {
		t.Fatal("no probe after two seconds")
	}
	b.report(later, false, false)
	if again, _ := b.allow(later); again {
		t.Error("a late failure ended the probe")
	}
	if !b.report(later, false, true) || b.isOpen() {
		t.Error("open after a success")
	}
}
