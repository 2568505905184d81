package bench

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every duration lies in a step that begins where the one before ends.
func TestHistogramSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, 1<<40-1).Draw(t, "ns")
		step := stepOf(ns)
		if end := stepEnd(step); ns > end || float64(end-ns) > float64(ns)/stepsPerOctave {
			t.Fatalf("%d ns is in step %d, which ends at %d", ns, step, end)
		}
		if step > 0 && stepEnd(step-1) >= ns {
			t.Fatalf("%d ns is in step %d, and the one before ends at %d", ns, step, stepEnd(step-1))
		}
	})
}

func TestHistogramEnds(t *testing.T) {
	h := new(histogram)
	h.add(-5) // a clock that went back
	h.add(math.MaxInt64)
	if got := h.quantile(.5); got != 0 {
		t.Errorf("the shorter one is %d, want 0", got)
	}
	if got := h.latency(); got.Count != 2 || got.Max != math.MaxInt64/1e3 {
		t.Errorf("%+v", got)
	}
	if got := new(histogram).latency(); got != nil {
		t.Errorf("no durations are %+v", got)
	}
}

// Quantiles are those of the sorted durations, less than 1 % above them.
func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1e12), 1, 300).Draw(t, "durations")
		parts := [2]*histogram{new(histogram), new(histogram)}
		for i, v := range values {
			parts[i%2].add(v)
		}
		h := new(histogram)
		h.merge(parts[0])
		h.merge(parts[1])
		slices.Sort(values)
		for _, q := range []float64{0, .5, .9, .99, .999, 1} {
			rank := max(int(math.Ceil(q*float64(len(values)))), 1)
			want, got := values[rank-1], h.quantile(q)
			if got < want || float64(got-want) > float64(want)/100 {
				t.Fatalf("quantile %v of %v is %d, want %d", q, values, got, want)
			}
		}
		if h.max != values[len(values)-1] || h.quantile(1) != h.max {
			t.Fatalf("maximum %d, quantile 1 %d, want %d", h.max, h.quantile(1), values[len(values)-1])
		}
	})
}
