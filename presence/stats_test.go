package presence

import "testing"

func TestStats(t *testing.T) {
	n := newNode()
	tracker := New(n, Options{})
	defer tracker.Close()
	a, b, c := n.join("a"), n.join("a"), n.join("b")
	for _, track := range []struct {
		c   *channel
		key string
	}{{a, "ada"}, {b, "ada"}, {b, "bob"}, {c, "ada"}} {
		if _, err := tracker.Track(track.c, track.key, struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := tracker.Stats(), (Stats{Topics: 2, Keys: 3, Bytes: 177}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	tracker.UntrackAll(c)
	tracker.Untrack(b, "ada") // a tracks it still
	if got, want := tracker.Stats(), (Stats{Topics: 1, Keys: 2, Bytes: 98}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
