package observer

import (
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// TestHooks: rates, the p99 of the last minute, and those in trouble first.
func TestHooks(t *testing.T) {
	var slow, quick webhook.Histogram
	counts := []HookCounts{
		{Instance: "a", Hook: "idle", Told: true, Behind: 3},
		{Instance: "a", Hook: "busy", Decides: true, Requests: 100},
		{Instance: "b", Hook: "losing", Told: true, Lost: 7, DeadLetters: 2, Lag: 90 * time.Second, LastError: "status 500"},
		{Instance: "c", Hook: "away", Decides: true, Open: true, Unanswered: 4},
	}
	buckets := func(h *webhook.Histogram) []int64 { list, _ := h.Read(); return list[:] }
	now := time.Unix(1_700_000_000, 0)
	s := hookSampler{counts: func() []HookCounts {
		list := append([]HookCounts(nil), counts...)
		list[1].Buckets, list[3].Buckets = buckets(&slow), buckets(&quick)
		return list
	}}
	slow.Observe(4 * time.Second)
	first := s.look(now)
	if first.Total != 4 || first.Away != 1 || first.Losing != 1 || first.Rows[0].Hook != "losing" || first.Rows[1].Hook != "away" || first.Rows[2].Hook != "busy" {
		t.Fatalf("%+v", first)
	}
	if d := first.Rows[2].Decides; d.Requests != 0 || d.P99MS < 2500 {
		t.Errorf("before there is a rate: %+v", d)
	}
	if again := s.look(now.Add(100 * time.Millisecond)); again != first {
		t.Error("sampled twice within a second")
	}
	counts[1].Requests += 50
	counts[0].Delivered += 20
	second := s.look(now.Add(2 * time.Second))
	if d := second.Rows[2].Decides; d.Requests != 25 || second.Rows[3].Told.Delivered != 10 || second.Rows[3].Told.Behind != 3 || second.Rows[0].Told.LagMS != 90_000 {
		t.Errorf("%+v %+v", d, second.Rows)
	}
	for i := range 70 { // the slow decision is more than a minute ago
		slow.Observe(2 * time.Millisecond)
		second = s.look(now.Add(time.Duration(3+i) * time.Second))
	}
	if p := second.Rows[2].Decides.P99MS; p < 1 || p > 2.5 {
		t.Errorf("p99 %v ms, want that of the last minute", p)
	}
	counts = counts[:0]
	for i := range maxHookRows + 5 {
		counts = append(counts, HookCounts{Instance: fmt.Sprint("i-", i), Hook: "x", Told: true})
	}
	s.counts = func() []HookCounts { return counts }
	if many := s.look(now.Add(time.Hour)); len(many.Rows) != maxHookRows || many.Total != maxHookRows+5 {
		t.Errorf("%d rows of %d", len(many.Rows), many.Total)
	}
	counts = nil
	if none := s.look(now.Add(2 * time.Hour)); none != nil {
		t.Errorf("%+v", none)
	}
}
