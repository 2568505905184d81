package observer

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// HookCounts are the figures of a hook of an instance. Counters are since the server's start.
type HookCounts struct {
	Instance, Hook string

	// Of a hook that decides.
	Decides                                bool
	Requests, Allowed, Refused, Unanswered int64
	InFlight, Waiting                      int64
	Open                                   bool    // its back end is considered away
	Buckets                                []int64 // durations of decisions, as of webhook.Histogram

	// Of a hook that is told of events.
	Told                         bool
	Delivered, Lost, DeadLetters int64
	Behind                       int64 // events after the last one that it has taken
	Lag                          time.Duration
	LastError                    string
}

// HookRow is a hook now.
type HookRow struct {
	Instance string        `json:"instance"`
	Hook     string        `json:"hook"`
	Decides  *DecidingHook `json:"decides,omitempty"`
	Told     *ToldHook     `json:"told,omitempty"`
}

// DecidingHook is what a hook decides.
type DecidingHook struct {
	Requests   float64 `json:"requests"` // a second
	Allowed    int64   `json:"allowed"`
	Refused    int64   `json:"refused"`
	Unanswered int64   `json:"unanswered"`
	InFlight   int64   `json:"in_flight"`
	Waiting    int64   `json:"waiting"`
	Open       bool    `json:"open,omitempty"`
	// P99MS is of the decisions of the last minute, 0 if there were none.
	P99MS float64 `json:"p99_ms"`
}

// ToldHook is what a hook is told.
type ToldHook struct {
	Delivered   float64 `json:"delivered"` // a second
	Behind      int64   `json:"behind"`
	LagMS       int64   `json:"lag_ms"`
	Lost        int64   `json:"lost"`
	DeadLetters int64   `json:"dead_letters"`
	LastError   string  `json:"last_error,omitempty"`
}

// Hooks are those of all instances, on this node.
type Hooks struct {
	// Rows are the first maxHookRows: those in trouble, then the busiest.
	Rows  []HookRow `json:"rows"`
	Total int       `json:"total"`
	// Away and Losing count the hooks whose back end is considered away, and that have missed
	// events.
	Away   int `json:"away"`
	Losing int `json:"losing"`
}

const (
	// maxHookRows bounds what each sample has.
	maxHookRows = 20
	// halfWindow is half of the time that DecidingHook.P99MS is about.
	halfWindow = 30 * time.Second
)

// hookSampler samples hooks while a page is open: without one they cost nothing.
type hookSampler struct {
	counts func() []HookCounts // static; nil: there are none

	mu     sync.Mutex
	last   *Hooks                 // guarded by mu
	at     time.Time              // guarded by mu: the time of last
	before map[hookID]*hookBefore // guarded by mu
}

type hookID struct{ instance, hook string }

// hookBefore is what a hook had counted earlier. Guarded by hookSampler.mu.
type hookBefore struct {
	requests, delivered int64 // at the last sample
	since               time.Time
	older, newer        []int64 // buckets, up to twice halfWindow ago, and at since
}

// look samples the hooks, nil if there are none.
func (s *hookSampler) look(now time.Time) *Hooks {
	if s.counts == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := now.Sub(s.at)
	if passed < sampleEvery/2 { // a page that opens between two samples
		return s.last
	}
	if passed > 2*halfWindow { // no page was open
		s.before = nil
	}
	list, before := s.counts(), s.before
	s.before = make(map[hookID]*hookBefore, len(list))
	h := &Hooks{Rows: make([]HookRow, 0, len(list)), Total: len(list)}
	for i := range list {
		c := &list[i]
		id := hookID{c.Instance, c.Hook}
		was := before[id]
		if was == nil {
			was = &hookBefore{requests: c.Requests, delivered: c.Delivered, since: now, newer: c.Buckets}
		}
		h.add(c, was, passed.Seconds())
		was.note(c, now)
		s.before[id] = was
	}
	slices.SortFunc(h.Rows, compareHooks)
	h.Rows = h.Rows[:min(len(h.Rows), maxHookRows)]
	s.at, s.last = now, h
	if h.Total == 0 {
		s.last = nil
	}
	return s.last
}

// add adds a row for a hook.
func (h *Hooks) add(c *HookCounts, was *hookBefore, seconds float64) {
	row := HookRow{Instance: c.Instance, Hook: c.Hook}
	rate := func(now, before int64) float64 { return float64(max(0, now-before)) / seconds }
	if c.Decides {
		row.Decides = &DecidingHook{
			Requests: rate(c.Requests, was.requests), Allowed: c.Allowed, Refused: c.Refused, Unanswered: c.Unanswered,
			InFlight: c.InFlight, Waiting: c.Waiting, Open: c.Open, P99MS: float64(was.quantile(c.Buckets).Microseconds()) / 1000,
		}
		if c.Open {
			h.Away++
		}
	}
	if c.Told {
		row.Told = &ToldHook{
			Delivered: rate(c.Delivered, was.delivered), Behind: c.Behind, LagMS: c.Lag.Milliseconds(),
			Lost: c.Lost, DeadLetters: c.DeadLetters, LastError: c.LastError,
		}
		if c.Lost > 0 {
			h.Losing++
		}
	}
	h.Rows = append(h.Rows, row)
}

// quantile returns the time that 99 of 100 of the last decisions did not exceed. A hook that is
// seen for the first time, or was replaced, has all of its decisions.
func (b *hookBefore) quantile(now []int64) time.Duration {
	since := slices.Clone(now)
	for i := range b.older {
		if since[i] < b.older[i] {
			return webhook.Quantile(now, 0.99)
		}
		since[i] -= b.older[i]
	}
	return webhook.Quantile(since, 0.99)
}

func (b *hookBefore) note(c *HookCounts, now time.Time) {
	b.requests, b.delivered = c.Requests, c.Delivered
	if now.Sub(b.since) >= halfWindow {
		b.since, b.older, b.newer = now, b.newer, c.Buckets
	}
}

// compareHooks puts hooks in trouble first, then those that do the most.
func compareHooks(a, b HookRow) int {
	return cmp.Or(cmp.Compare(b.trouble(), a.trouble()), cmp.Compare(b.rate(), a.rate()), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Hook, b.Hook))
}

// trouble returns how bad it is: 0 is well.
func (r *HookRow) trouble() int {
	switch {
	case r.Told != nil && r.Told.Lost > 0:
		return 3
	case r.Decides != nil && r.Decides.Open:
		return 2
	case r.Told != nil && (r.Told.LastError != "" || r.Told.DeadLetters > 0):
		return 1
	}
	return 0
}

func (r *HookRow) rate() (all float64) {
	if r.Decides != nil {
		all += r.Decides.Requests
	}
	if r.Told != nil {
		all += r.Told.Delivered
	}
	return all
}
