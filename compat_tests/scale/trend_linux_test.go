package scale

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// trend returns the median of values sampled at equal intervals, and by how much they grew
// from the first to the last, according to the median of the slopes between all pairs
// (Theil and Sen), which single outliers do not affect.
func trend(values []float64) (level, growth float64) {
	if len(values) < 2 {
		return 0, 0
	}
	slopes := make([]float64, 0, len(values)*(len(values)-1)/2)
	for i, x := range values {
		for j := range i {
			slopes = append(slopes, (x-values[j])/float64(i-j))
		}
	}
	return median(values), median(slopes) * float64(len(values)-1)
}

// median returns the middle value, or the upper one of two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func TestTrend(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	series := func(slope float64) []float64 {
		values := make([]float64, 200)
		for i := range values {
			values[i] = 1000 + slope*float64(i) + 50*r.NormFloat64()
			if i%20 == 0 {
				values[i] += 2000 // an outlier
			}
		}
		return values
	}
	if level, growth := trend(series(0)); level < 980 || level > 1020 || growth < -40 || growth > 40 {
		t.Errorf("flat: level %.0f, growth %.0f", level, growth)
	}
	if _, growth := trend(series(1)); growth < 160 || growth > 240 {
		t.Errorf("growing by 199: %.0f", growth)
	}
	if _, growth := trend(series(-1)); growth > -160 {
		t.Errorf("shrinking by 199: %.0f", growth)
	}
}
