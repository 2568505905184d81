package cluster

import (
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/internal/hubtest"
)

// heirloom is a kind whose state is a number of parts.
type heirloom struct {
	parts    int
	restored atomic.Int64 // parts that have arrived
}

func (h *heirloom) Apply(*Peer, byte, []byte) {}
func (h *heirloom) Lost(*Peer, uint64)        {}
func (h *heirloom) Up(*Peer)                  {}
func (h *heirloom) Down(*Peer)                {}
func (h *heirloom) Gone(*Peer)                {}
func (h *heirloom) Inherits()                 {}

func (h *heirloom) Snapshot(_ int, yield func(part []byte)) {
	for i := range h.parts {
		yield([]byte{byte(i)})
	}
}

func (h *heirloom) Restore(_ *Peer, parts iter.Seq[[]byte], _ iter.Seq2[byte, []byte]) {
	for part := range parts {
		h.restored.Add(int64(len(part)))
	}
}

// TestSnapshotInPieces: a node that gets the first parts of a snapshot, and nothing then for longer than the others are
// kept, gets a new one.
func TestSnapshotInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New[LogID]()
		old, late := &heirloom{parts: 3 * partsAtATime}, &heirloom{}
		startNode(t, h, "old", Options{Kinds: map[byte]Kind{TypeHistory: old}})
		time.Sleep(heartbeatEvery)
		port := h.Port()
		n, err := Start(port, SystemClock(), Options{Name: "late", Kinds: map[byte]Kind{TypeHistory: late}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		time.Sleep(partsEvery / 2)
		port.SetDeaf(true)
		time.Sleep(snapshotFor + heartbeatEvery)
		if got := late.restored.Load(); got != 0 {
			t.Errorf("%d parts are restored of a snapshot that is not complete", got)
		}
		port.SetDeaf(false)
		time.Sleep(2*heartbeatEvery + DownAfter)
		if got := late.restored.Load(); got != int64(old.parts) {
			t.Errorf("%d parts are restored, want %d", got, old.parts)
		}
	})
}
