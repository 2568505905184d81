package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/internal/hubtest"
)

// TestSilence: a node that ends without a goodbye is down after DownAfter, and forgotten
// when it has been silent for GoneAfter more.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New[LogID]()
		a := startNode(t, h, "a", Options{})
		transport := h.Port()
		b, err := Start(transport, SystemClock(), Options{Name: "b"})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		time.Sleep(2 * heartbeatEvery)
		transport.SetMute(true)
		cut := time.Now()
		expect := func(after time.Duration, known, up bool) {
			t.Helper()
			time.Sleep(time.Until(cut.Add(after)))
			peers := a.Stats().Peers
			if (len(peers) == 1) != known || known && peers[0].Up != up {
				t.Errorf("after %v: %+v, want it to be known: %v, up: %v", after, peers, known, up)
			}
		}
		const slack = heartbeatEvery + tickEvery // since the last heartbeat, and until the next tick
		expect(0, true, true)
		expect(DownAfter-slack, true, true)
		expect(DownAfter+slack, true, false)
		expect(DownAfter+GoneAfter-slack, true, false)
		expect(DownAfter+GoneAfter+slack, false, false)
	})
}
