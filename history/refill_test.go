package history_test

import (
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// TestRefill: what is no longer in memory is recorded again with its times, and delivered to
// nobody; positions from before are expired.
func TestRefill(t *testing.T) {
	c := newClock()
	s, sp := open(t, history.Options{Now: c.now}, history.Rule{Topics: []string{"room"}, Messages: 3, Age: time.Minute})
	other := new(listener)
	defer sp.Attach(other)()
	older := func(text string, ago time.Duration) history.Message {
		return history.Message{Event: "msg", Payload: []byte(text), Time: c.now().Add(-ago)}
	}
	refill := func(topic, had string, with ...history.Message) {
		t.Helper()
		err := sp.Refill(topic, func(have []history.Message) []history.Message {
			if texts(have) != had {
				t.Errorf("there was %q, want %q", texts(have), had)
			}
			if with == nil {
				return nil
			}
			return append(with, have...)
		})
		if err != nil {
			t.Error(err)
		}
	}
	refill("room", "", older("m0", 2*time.Minute), older("m1", time.Second))
	wantPage(t, sp.Page("room", history.Ask{}), "m1", "")
	before := now(sp, "room")
	record(sp, "room", "m2")
	refill("room", "m1 m2")
	wantPage(t, sp.Since("room", before, 0), "m2", "")
	refill("room", "m1 m2", older("m7", 4*time.Second), older("m8", 3*time.Second))
	wantPage(t, sp.Page("room", history.Ask{}), "m8 m1 m2", "")
	wantPage(t, sp.Since("room", before, 0), "m8 m1 m2", history.Expired)
	if m := sp.Last("room", 2)[0]; !m.Time.Equal(c.now().Add(-time.Second)) {
		t.Errorf("m1 was recorded at %v, want a second before %v", m.Time, c.now())
	}
	refill("other", "", older("m9", 0))
	if n := s.Stats(); n.Messages != 3 || n.Topics != 1 || len(other.got) > 0 {
		t.Errorf("%+v; delivered: %q", n, other.got)
	}
	sp.Delete("room")
	if n := s.Stats(); n.Messages != 0 {
		t.Errorf("%+v", n)
	}
}
