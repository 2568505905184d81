package presence

import (
	"slices"
	"testing"
)

// seen is an observer that writes down what it is told, and whether clients have been
// told before.
type seen struct {
	node *node
	list []string
	late bool
}

func (s *seen) add(text string) {
	s.list = append(s.list, text)
	s.late = s.late || len(s.node.takeDiffs()) > 0
}

func (s *seen) PresenceJoined(topic, key, meta string) {
	text := "+" + topic + " " + key
	if prevOf(meta) != "" {
		text += " again"
	}
	s.add(text)
}

func (s *seen) PresenceLeft(topic, key, _ string) { s.add("-" + topic + " " + key) }

// An observer is told of this node's presences before clients are, and of nothing that
// they are not told of.
func TestObserver(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	s := &seen{node: n}
	tr.Observe(s)
	want := func(want ...string) {
		t.Helper()
		if !slices.Equal(s.list, want) {
			t.Errorf("observed %q, want %q", s.list, want)
		}
		s.list = nil
		n.takeDiffs()
	}
	a, b := n.join("room:1"), n.join("room:2")
	track(t, tr, a, "ann", struct{}{})
	want("+room:1 ann")
	update(t, tr, a, "ann", struct{}{})
	want("+room:1 ann again")
	track(t, tr, b, "bob", struct{}{})
	want("+room:2 bob")
	a.end()
	want("-room:1 ann")
	tr.Close()
	want("-room:2 bob")
	if s.late {
		t.Error("clients were told first")
	}
	tr.Observe(nil)
}
