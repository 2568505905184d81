package hooks

import (
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// kindStats counts the decisions of a kind.
type kindStats struct {
	allowed, refused, unanswered atomic.Int64
	durations                    webhook.Histogram // of the decisions that the back end has made
}

// KindStats are figures of one hook and one kind of decisions since the start.
type KindStats struct {
	Hook, Kind       string
	Allowed, Refused int64
	Unanswered       int64 // the back end has not decided
	// Buckets counts the decisions by duration: Buckets[i] those that took at most Bounds()[i] and longer than the
	// bound before, and the last element those that took longer than all bounds. Sum is their total duration.
	Buckets []int64
	Sum     time.Duration
}

// HookStats are figures of one hook.
type HookStats struct {
	Hook     string
	Requests int64 // sent, including repeated ones
	Retries  int64 // requests that were repeated
	Busy     int64 // decisions that were not asked for because too many waited
	Away     int64 // decisions that were not asked for because the back end was considered away
	InFlight int64 // requests at present
	Waiting  int64 // decisions that wait for their turn at present
	Open     bool  // the back end is considered away
	Kinds    []KindStats
}

// Sum returns the sum of the figures of all kinds. Its Kind is empty.
func (h *HookStats) Sum() (all KindStats) {
	all.Hook, all.Buckets = h.Hook, make([]int64, len(webhook.Bounds)+1)
	for i := range h.Kinds {
		k := &h.Kinds[i]
		all.Allowed += k.Allowed
		all.Refused += k.Refused
		all.Unanswered += k.Unanswered
		all.Sum += k.Sum
		for j, n := range k.Buckets {
			all.Buckets[j] += n
		}
	}
	return all
}

// Quantile returns the q-quantile of the durations, such as the median for q = 0.5, or 0 without decisions.
func (k *KindStats) Quantile(q float64) time.Duration { return webhook.Quantile(k.Buckets, q) }

// Bounds returns the upper bounds of KindStats.Buckets.
func Bounds() []time.Duration { return webhook.Bounds[:] }

// Stats returns figures of each hook, in the order of Options.Hooks.
func (d *Decider) Stats() []HookStats {
	all := make([]HookStats, len(d.targets))
	for i, t := range d.targets {
		c := t.caller.Stats()
		all[i] = HookStats{
			Hook: t.Name, Requests: c.Sent, Retries: c.Retries, Busy: c.Busy, Away: c.Away,
			InFlight: c.InFlight, Waiting: c.Waiting, Open: c.Open,
		}
		for k, kind := range decisions {
			if !t.decides(kind) {
				continue
			}
			s := &t.stats[k]
			buckets, sum := s.durations.Read()
			all[i].Kinds = append(all[i].Kinds, KindStats{
				Hook: t.Name, Kind: kind, Allowed: s.allowed.Load(), Refused: s.refused.Load(), Unanswered: s.unanswered.Load(),
				Buckets: buckets[:], Sum: sum,
			})
		}
	}
	return all
}
