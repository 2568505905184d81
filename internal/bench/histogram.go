package bench

import "math/bits"

// A histogram has stepsPerOctave equal steps for each power of two, so that
// reported values are less than 1 % too high and never too low.
const (
	stepBits       = 7
	stepsPerOctave = 1 << stepBits
	octaves        = 34 // up to 2^(7+33) ns, 18 minutes
)

// histogram counts durations in nanoseconds. It has no pointers, because it is
// in memory shared by processes. One process writes; others read when it has
// stopped.
type histogram struct {
	count, sum, max int64
	steps           [stepsPerOctave * octaves]int64
}

func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.count++
	h.sum += ns
	h.max = max(h.max, ns)
	h.steps[stepOf(ns)]++
}

// stepOf is exact below 2*stepsPerOctave and keeps 8 significant bits above.
func stepOf(ns int64) int {
	octave := bits.Len64(uint64(ns)) - stepBits - 1
	if octave <= 0 {
		return int(ns)
	}
	return min(octave<<stepBits+int(ns>>octave), stepsPerOctave*octaves-1)
}

// stepEnd returns the longest duration of a step.
func stepEnd(step int) int64 {
	octave := step>>stepBits - 1
	if octave <= 0 {
		return int64(step)
	}
	return (int64(step-octave<<stepBits)+1)<<octave - 1
}

func (h *histogram) merge(other *histogram) {
	h.count += other.count
	h.sum += other.sum
	h.max = max(h.max, other.max)
	for i, n := range other.steps {
		h.steps[i] += n
	}
}

// quantile returns an upper bound of the q-quantile.
func (h *histogram) quantile(q float64) int64 {
	rank := int64(q * float64(h.count))
	if float64(rank) < q*float64(h.count) {
		rank++
	}
	rank = max(rank, 1)
	var seen int64
	for step, n := range h.steps {
		if seen += n; seen >= rank {
			return min(stepEnd(step), h.max)
		}
	}
	return h.max
}

// Latency summarizes many durations, in microseconds.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// latency is nil for no durations.
func (h *histogram) latency() *Latency {
	if h.count == 0 {
		return nil
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return &Latency{
		Count: h.count, Mean: float64(h.sum) / float64(h.count) / 1e3, Max: us(h.max),
		P50: us(h.quantile(.5)), P90: us(h.quantile(.9)), P99: us(h.quantile(.99)), P999: us(h.quantile(.999)),
	}
}
