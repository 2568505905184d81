package presence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// crowd is the keys of a test, with metas of some size each.
func crowd(t *testing.T, tr *Tracker, keys func(i int) string, n, size int) {
	meta := json.RawMessage(fmt.Sprintf(`{"about":%q}`, strings.Repeat("x", size)))
	for i := range n {
		track(t, tr, &member{topic: "room:lobby"}, keys(i), meta)
	}
}

// TestLargeState: a state comes in messages of at most maxPayload, of which the first is a presence_state, and they amount to
// it, whether it is large because of its keys, of the metas of one, or of its chunks.
func TestLargeState(t *testing.T) {
	for name, c := range map[string]struct {
		keys    func(i int) string
		n, size int
	}{
		"keys":            {func(i int) string { return fmt.Sprint("user:", i) }, 1500, 4000},
		"one key":         {func(int) string { return "guest" }, 300, 4000},
		"large metas":     {func(i int) string { return fmt.Sprint("user:", i) }, 8, 200 << 10},
		"keys of escapes": {func(i int) string { return fmt.Sprint(strings.Repeat("\x01", 4000), i) }, 60, 10},
		"all of them":     {func(i int) string { return fmt.Sprint("user:", i%7) }, 200, 9000},
		"nobody":          {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			tr := newTracker(t, n, Options{})
			crowd(t, tr, c.keys, c.n, c.size)
			n.takeDiffs()
			ch := n.join("room:lobby")
			if err := tr.PushState(ch); err != nil {
				t.Fatal(err)
			}
			one := &client{state: make(map[string][]meta), parts: true}
			one.rejoin()
			messages := ch.take()
			for i, m := range messages {
				if want := EventState; i > 0 && m.name != EventDiff || i == 0 && m.name != want {
					t.Errorf("message %d is a %s", i, m.name)
				}
				if len(m.payload) > maxPayload {
					t.Errorf("message %d has %d bytes", i, len(m.payload))
				}
				if err := one.handle(m); err != nil {
					t.Fatal(i, err)
				}
			}
			if !sameShape(one.shape(), shape(tr.List("room:lobby"))) {
				t.Errorf("%d messages do not amount to the list", len(messages))
			}
			if total := len(tr.AppendList(nil, "room:lobby")); len(messages) > total/(maxPayload/2)+2 {
				t.Errorf("%d messages of %d bytes in all", len(messages), total)
			}
		})
	}
}

// TestLargeStateAsJSON: for a channel that encodes its payloads, a state of several messages is one object.
func TestLargeStateAsJSON(t *testing.T) {
	tr := newTracker(t, newNode(), Options{})
	crowd(t, tr, func(i int) string { return fmt.Sprint("user:", i%3) }, 300, 4000)
	c := &encoding{}
	if err := tr.PushState(c); err != nil {
		t.Fatal(err)
	}
	if want := string(tr.AppendList(nil, "room:lobby")); c.state != want || len(want) < 2*maxPayload {
		t.Errorf("a state of %d bytes is not the list of %d", len(c.state), len(want))
	}
}

// encoding is a channel that encodes what it is given.
type encoding struct{ state string }

func (*encoding) Topic() string { return "room:lobby" }
func (*encoding) OnEnd(func())  {}

func (c *encoding) Push(_ string, payload any) error {
	state, err := json.Marshal(payload)
	c.state = string(state)
	return err
}

// TestLargeDiff: so does the diff of a window, with what has joined before what has left.
func TestLargeDiff(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{Window: time.Hour})
	ch := n.join("room:lobby")
	about := json.RawMessage(fmt.Sprintf(`{"about":%q}`, strings.Repeat("x", 4000)))
	members := make([]*channel, 300)
	for i := range members {
		members[i] = n.join("room:lobby")
		track(t, tr, members[i], fmt.Sprint("user:", i%200), about)
	}
	one := &client{state: make(map[string][]meta), parts: true}
	one.rejoin()
	if err := tr.PushState(ch); err != nil {
		t.Fatal(err)
	}
	tr.Flush()
	for i, m := range members { // two thirds of the keys are left: updated, or not touched
		switch i % 3 {
		case 0:
			update(t, tr, m, fmt.Sprint("user:", i%200), about)
		case 1:
			m.end()
		}
	}
	tr.Flush()
	messages := ch.take()
	for i, m := range messages {
		if len(m.payload) > maxPayload {
			t.Errorf("message %d has %d bytes", i, len(m.payload))
		}
		if err := one.handle(m); err != nil {
			t.Fatal(i, err)
		}
	}
	if len(messages) < 8 || len(messages) > 12 {
		t.Errorf("%d messages", len(messages))
	}
	if !sameShape(one.shape(), shape(tr.List("room:lobby"))) {
		t.Error("the diffs do not amount to the list")
	}
}
