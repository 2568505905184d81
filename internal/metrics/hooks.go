package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HooksSource is a [Source] that has hooks.
type HooksSource interface {
	Source
	// Hooks returns the figures of hooks and of the events that they are told.
	Hooks() Hooks
}

// Hooks are the figures of all hooks, and of events.
type Hooks struct {
	Deciding []DecidingHook
	Told     []ToldHook
	Events   Events
}

// Events are the figures of the streams of events.
type Events struct {
	Stored, Missed int64
	OutboxBytes    int64
	Followers      int64
}

// ToldHook are the figures of the hooks of a name that are told of events. Hook is never
// specific to an instance that was created by the API.
type ToldHook struct {
	Hook                                           string
	Delivered, Refused, Lost, Waiting, DeadLetters int64
	Requests, Failed                               int64
	Lag                                            time.Duration
	Durations                                      Histogram
}

// DecidingHook is the same for hooks that decide.
type DecidingHook struct {
	Hook                                             string
	Requests, Retries, Busy, Away, InFlight, Waiting int64
	Open                                             int64 // how many take their back end for away
	Kinds                                            []Decisions
}

// Decisions are the figures of one kind of decisions.
type Decisions struct {
	Kind                         string
	Allowed, Refused, Unanswered int64
	Durations                    Histogram
}

// Histogram is durations by bucket, with one more bucket than there are bounds.
type Histogram struct {
	Bounds  []time.Duration
	Buckets []int64
	Sum     time.Duration
}

// Add adds the durations of another histogram with the same bounds.
func (h *Histogram) Add(o Histogram) {
	h.Bounds = o.Bounds
	if h.Buckets == nil {
		h.Buckets = make([]int64, len(o.Buckets))
	}
	for i, n := range o.Buckets {
		h.Buckets[i] += n
	}
	h.Sum += o.Sum
}

// cumulative returns what Prometheus wants of a histogram.
func (h *Histogram) cumulative() (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(h.Bounds))
	for i, n := range h.Buckets {
		count += uint64(n)
		if i < len(h.Bounds) {
			buckets[h.Bounds[i].Seconds()] = count
		}
	}
	return count, buckets
}

// hookPrefix and eventPrefix begin the names of families that only a server with hooks has.
const (
	hookPrefix  = "mycelium_hook_"
	eventPrefix = "mycelium_event"
)

func init() { families = append(families, hookFamilies...) }

// hookFamilies is the part of the table that is about hooks.
var hookFamilies = []family{
	{
		"mycelium_hook_decisions_total", "Decisions asked of a hook, by kind and outcome. unanswered: while_away has decided.",
		counter, []string{"hook", "kind", "outcome"}, func(s *snapshot, emit emit) {
			eachDecision(s, func(hook string, d *Decisions) {
				emit(d.Allowed, hook, d.Kind, "allowed")
				emit(d.Refused, hook, d.Kind, "refused")
				emit(d.Unanswered, hook, d.Kind, "unanswered")
			})
		},
	},
	deciding("mycelium_hook_requests_total", "Requests for decisions, with those that were repeated.", counter, func(h *DecidingHook) int64 { return h.Requests }),
	deciding("mycelium_hook_retries_total", "Requests for decisions that were repeated.", counter, func(h *DecidingHook) int64 { return h.Retries }),
	deciding("mycelium_hook_busy_total", "Decisions that were not asked for because too many waited.", counter, func(h *DecidingHook) int64 { return h.Busy }),
	deciding("mycelium_hook_away_total", "Decisions that were not asked for because the back end was away.", counter, func(h *DecidingHook) int64 { return h.Away }),
	deciding("mycelium_hook_away", "Hooks whose back end is considered away.", gauge, func(h *DecidingHook) int64 { return h.Open }),
	deciding("mycelium_hook_in_flight", "Requests for decisions in flight.", gauge, func(h *DecidingHook) int64 { return h.InFlight }),
	deciding("mycelium_hook_waiting", "Decisions that wait for their turn.", gauge, func(h *DecidingHook) int64 { return h.Waiting }),
	{
		"mycelium_hook_events_total",
		"Events for a hook, by what became of them. delivered: it has taken them. refused: it never will, and they are dead letters. lost: they were dropped because the outbox was full.",
		counter, []string{"hook", "outcome"}, func(s *snapshot, emit emit) {
			eachTold(s, func(h *ToldHook) {
				emit(h.Delivered, h.Hook, "delivered")
				emit(h.Refused, h.Hook, "refused")
				emit(h.Lost, h.Hook, "lost")
			})
		},
	},
	{
		"mycelium_hook_event_requests_total", "Requests with events, by outcome. A request that failed is sent again.",
		counter, []string{"hook", "outcome"}, func(s *snapshot, emit emit) {
			eachTold(s, func(h *ToldHook) {
				emit(h.Requests-h.Failed, h.Hook, "taken")
				emit(h.Failed, h.Hook, "failed")
			})
		},
	},
	told("mycelium_hook_lag_seconds", "The age of the oldest event that waits for an answer.", func(h *ToldHook) int64 { return int64(h.Lag) }),
	told("mycelium_hook_events_waiting", "Events behind the last one that a hook has taken, including those that it does not ask for.", func(h *ToldHook) int64 { return h.Waiting }),
	told("mycelium_hook_dead_letters", "Events that a back end has refused, and that wait to be replayed.", func(h *ToldHook) int64 { return h.DeadLetters }),
	ofEvents("mycelium_events_stored_total", "Events stored for hooks and followers.", counter, func(e *Events) int64 { return e.Stored }),
	ofEvents("mycelium_events_missed_total", "Events that could not be stored, because the disk or the outbox was full.", counter, func(e *Events) int64 { return e.Missed }),
	ofEvents("mycelium_events_outbox_bytes", "Bytes of stored events.", gauge, func(e *Events) int64 { return e.OutboxBytes }),
	ofEvents("mycelium_event_followers", "Followers of events, including those that left within a minute.", gauge, func(e *Events) int64 { return e.Followers }),
}

// emitHistogram adds one histogram, with the values of the family's labels.
type emitHistogram func(h *Histogram, labels ...string)

// histogram is a row of the table of metrics that are histograms.
type histogram struct {
	name, help string
	labels     []string
	read       func(s *snapshot, emit emitHistogram)
}

var histograms = []histogram{
	{"mycelium_hook_decision_seconds", "How long a back end took to decide.", []string{"hook", "kind"}, func(s *snapshot, emit emitHistogram) {
		eachDecision(s, func(hook string, d *Decisions) { emit(&d.Durations, hook, d.Kind) })
	}},
	{"mycelium_hook_event_request_seconds", "How long a back end took to answer a request with events.", []string{"hook"}, func(s *snapshot, emit emitHistogram) {
		eachTold(s, func(h *ToldHook) { emit(&h.Durations, h.Hook) })
	}},
}

func eachDecision(s *snapshot, f func(hook string, d *Decisions)) {
	if s.hooks == nil {
		return
	}
	for i := range s.hooks.Deciding {
		h := &s.hooks.Deciding[i]
		for k := range h.Kinds {
			f(h.Hook, &h.Kinds[k])
		}
	}
}

func eachTold(s *snapshot, f func(h *ToldHook)) {
	if s.hooks == nil {
		return
	}
	for i := range s.hooks.Told {
		f(&s.hooks.Told[i])
	}
}

func deciding(name, help string, kind prometheus.ValueType, value func(h *DecidingHook) int64) family {
	return family{name: name, help: help, kind: kind, labels: []string{"hook"}, read: func(s *snapshot, emit emit) {
		if s.hooks == nil {
			return
		}
		for i := range s.hooks.Deciding {
			emit(value(&s.hooks.Deciding[i]), s.hooks.Deciding[i].Hook)
		}
	}}
}

func told(name, help string, value func(h *ToldHook) int64) family {
	return family{name: name, help: help, kind: gauge, labels: []string{"hook"}, read: func(s *snapshot, emit emit) {
		eachTold(s, func(h *ToldHook) { emit(value(h), h.Hook) })
	}}
}

func ofEvents(name, help string, kind prometheus.ValueType, value func(e *Events) int64) family {
	return family{name: name, help: help, kind: kind, read: func(s *snapshot, emit emit) {
		if s.hooks != nil {
			emit(value(&s.hooks.Events))
		}
	}}
}
