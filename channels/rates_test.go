package channels

import (
	"testing"
	"time"
)

// TestWireRate: bytes within twice the rate never hold a socket up, more do until
// it has made up for them, and for no longer than maxHold.
func TestWireRate(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	const rate = 1000
	limits := rateLimits{bytes: rate}
	var r rates
	for range 200 { // 100 a second of 14 bytes of head and mask, and 6 of a message
		if at = at.Add(10 * time.Millisecond); r.addWire(at, limits, 20) != 0 {
			t.Fatal("a client within its rate is held up")
		}
	}
	at = at.Add(time.Minute)
	if d := r.addWire(at, limits, 2*rate); d != 0 {
		t.Errorf("a burst of twice the rate is held up for %v", d)
	}
	if d := r.addWire(at, limits, 2*rate); d != time.Second {
		t.Errorf("twice as much is held up for %v, want 1s", d)
	}
	if d := r.addWire(at.Add(time.Second), limits, 2); d < time.Millisecond || d > 20*time.Millisecond {
		t.Errorf("two bytes too many are held up for %v", d)
	}
	if d := r.addWire(at, limits, 1<<40); d != maxHold {
		t.Errorf("a terabyte is held up for %v, want %v", d, maxHold)
	}
}

// TestRates: a limit admits its number of events in a second and a burst of one
// second's worth, for sockets and for all together, whatever was used of others.
func TestRates(t *testing.T) {
	t.Run("of a socket", func(t *testing.T) { testRates[float32](t) })
	t.Run("of all", func(t *testing.T) { testRates[float64](t) })
}

func testRates[F float32 | float64](t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	limits := rateLimits{joins: 3, messages: 10, bytes: 10_000_000}
	var b buckets[F]
	count := func(event string, bytes, tries int) (admitted int, reason string) {
		for range tries {
			if r := b.takeRates(at, limits, event, bytes); r == "" {
				admitted++
			} else {
				reason = r
			}
		}
		return admitted, reason
	}
	check := func(what, event string, bytes, tries, want int, reason string) {
		t.Helper()
		if n, r := count(event, bytes, tries); n != want || r != reason {
			t.Errorf("%s: %d of %d admitted, %q; want %d, %q", what, n, tries, r, want, reason)
		}
	}
	check("a burst of messages", "say", 20, 100, 10, reasonMessages)
	check("joins beside it", "phx_join", 20, 5, 3, reasonJoins)
	check("leaves", "phx_leave", 20, 100, 100, "")
	at = at.Add(99 * time.Millisecond)
	check("a tenth of a second later, nearly", "say", 20, 5, 0, reasonMessages)
	at = at.Add(time.Millisecond)
	check("a tenth of a second later", "say", 20, 5, 1, reasonMessages)
	at = at.Add(time.Second)
	check("a message of all bytes", "say", limits.bytes, 2, 1, reasonBytes)
	admitted := 0
	for range 1000 { // 11 a second of 10 that are allowed
		at = at.Add(time.Second / 11)
		n, _ := count("say", 20, 1)
		admitted += n
	}
	if admitted < 900 || admitted > 920 {
		t.Errorf("%d of 1000 admitted at 11 a second, want 10 in 11", admitted)
	}
	used := b.messages
	b.drain(at.Add(-time.Second), limits)
	if b.messages != used {
		t.Errorf("a clock that is behind made %v of %v", b.messages, used)
	}
	at = at.Add(30 * 24 * time.Hour) // half of what a stamp counts, and more
	check("after a month", "say", 20, 100, 10, reasonMessages)
}
