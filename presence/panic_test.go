package presence

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

type rude struct{}

func (rude) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

// A meta that panics while it is encoded is an error of Track, and changes nothing.
func TestMetaThatPanics(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	if _, err := tr.Track(c, "ada", rude{}); err == nil || !strings.Contains(err.Error(), "in MarshalJSON") {
		t.Errorf("track: %v", err)
	}
	checkEmpty(t, tr)
	ref := track(t, tr, c, "ada", map[string]int{"n": 1})
	if _, err := tr.Update(c, "ada", rude{}); err == nil {
		t.Error("update without an error")
	}
	if metas := tr.Get("room:1", "ada"); len(metas) != 1 || metas[0].Ref != ref {
		t.Errorf("present: %v", metas)
	}
}

// rudeBroadcaster panics in every broadcast.
type rudeBroadcaster struct{}

func (rudeBroadcaster) BroadcastLocal(string, string, any) error { panic("in the Broadcaster") }

// Nothing that is called on the timer of a window can end the process.
func TestBroadcasterThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		var reported error
		tr := newTracker(t, rudeBroadcaster{}, Options{Window: window, OnError: func(_ string, err error) {
			reported = errors.Join(reported, err)
			panic("in OnError")
		}})
		track(t, tr, n.join("room:1"), "ada", struct{}{})
		pass(window)
		if reported == nil || !strings.Contains(reported.Error(), "in the Broadcaster") {
			t.Errorf("reported: %v", reported)
		}
		if tr.Count("room:1") != 1 {
			t.Error("the tracker has lost who is present")
		}
	})
}
