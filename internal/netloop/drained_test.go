package netloop

import (
	"bytes"
	"io"
	"testing"
)

// drainHooks is hooks with a HandleDrained.
type drainHooks struct {
	hooks
	drained func(c *Conn)
}

func (h *drainHooks) HandleDrained(c *Conn) {
	defer h.enter(false, false)()
	h.drained(c)
}

// HandleDrained comes once for each NotifyDrained, when the peer has read most of what waits and not before.
func TestNotifyDrained(t *testing.T) {
	eachSlow(t, func(t *testing.T, w way) {
		const limit, size = 2 << 20, 128 << 10
		g := newGroup(t, w.with(Options{OutboundLimit: limit, SendBuffer: 128 << 10}))
		calls := make(chan bool, 10)
		h := &drainHooks{drained: func(c *Conn) { calls <- c.Lags(4) }}
		c, peer := connect(t, g, &hooks{})
		h.opened = true
		if err := peer.SetReadBuffer(128 << 10); err != nil { // else it takes megabytes without reading
			t.Fatal(err)
		}
		on(t, c, func() {
			c.SetHandler(h)
			c.NotifyDrained()
		})
		if receive(t, "HandleDrained with an empty queue", calls) {
			t.Error("an empty queue lags")
		}
		sent := 0
		on(t, c, func() {
			for !c.Lags(2) {
				c.Send(frameOf(bytes.Repeat([]byte("x"), size)))
				sent += size
			}
			c.NotifyDrained()
			c.NotifyDrained()
		})
		on(t, c, func() {})
		if len(calls) != 0 {
			t.Fatal("HandleDrained for a peer that has not read")
		}
		if _, err := io.ReadFull(peer, make([]byte, sent)); err != nil {
			t.Fatal(err)
		}
		if receive(t, "HandleDrained", calls) {
			t.Error("HandleDrained while more than a quarter of the limit waits")
		}
		on(t, c, func() {})
		if len(calls) != 0 {
			t.Error("HandleDrained twice")
		}
	})
}

// A frame with a weight counts at most a quarter of the limit, until it is written.
func TestWeigh(t *testing.T) {
	f := frameOf(make([]byte, 1000))
	defer f.Release()
	for _, test := range []struct{ weight, limit, want int }{{0, 400, 1000}, {1000, 400, 100}, {1000, 1 << 20, 1000}, {1, 400, 1}} {
		f.Weigh(test.weight)
		if got := f.Cost(test.limit); got != test.want {
			t.Errorf("weight %d, limit %d: counts %d, want %d", test.weight, test.limit, got, test.want)
		}
	}
}
