package main

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/internal/observer"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// otherHooks is the label hook of the hooks of instances: whoever may create instances
// chooses their names, of which there may be any number.
const otherHooks = "of instances"

// hookLabel returns the label of a hook of an instance.
func hookLabel(instance, hook string) string {
	if instance == defaultInstance {
		return hook
	}
	return otherHooks
}

// Hooks implements metrics.HooksSource.
func (w watched) Hooks() metrics.Hooks {
	told, all := w.d.told.read(w.d.events.Stats)
	return metrics.Hooks{Told: told, Events: all, Deciding: w.d.deciders.figures()}
}

// toldFigures adds up what the streams of events and their hooks have counted. Counters must not
// decrease when one of them ends, so what it had counted at the last scrape still counts.
type toldFigures struct {
	mu sync.Mutex

	// Guarded by mu.
	hooks   map[[2]string]*metrics.ToldHook // at the last scrape, by instance and hook
	streams map[string]metrics.Events       // at the last scrape, by instance
	gone    map[string]*metrics.ToldHook    // counters of those that have ended, by label
	missing metrics.Events                  // counters of those that have ended
}

// read returns the figures of a scrape.
func (f *toldFigures) read(stats func() []events.StreamStats) (told []metrics.ToldHook, all metrics.Events) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hooks, streams := make(map[[2]string]*metrics.ToldHook), make(map[string]metrics.Events)
	for _, s := range stats() {
		streams[s.Instance] = metrics.Events{Stored: int64(s.Stored), Missed: int64(s.Missed), OutboxBytes: s.Bytes, Followers: int64(s.Followers)}
		for i := range s.Hooks {
			h := &s.Hooks[i]
			hooks[[2]string{h.Instance, h.Hook}] = toldHook(h)
		}
	}
	f.keepEnded(hooks, streams)
	f.hooks, f.streams = hooks, streams
	by := make(map[string]*metrics.ToldHook)
	for name, h := range f.gone {
		addTold(by, name, h)
	}
	for id, h := range hooks {
		addTold(by, hookLabel(id[0], id[1]), h)
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		told = append(told, *by[name])
	}
	all = f.missing
	for _, e := range streams {
		all.Stored, all.Missed, all.OutboxBytes, all.Followers = all.Stored+e.Stored, all.Missed+e.Missed, all.OutboxBytes+e.OutboxBytes, all.Followers+e.Followers
	}
	return told, all
}

// keepEnded keeps the counters of what is not among the present hooks and streams, or has begun
// again.
func (f *toldFigures) keepEnded(hooks map[[2]string]*metrics.ToldHook, streams map[string]metrics.Events) {
	if f.gone == nil {
		f.gone = make(map[string]*metrics.ToldHook)
	}
	for id, was := range f.hooks {
		if now := hooks[id]; now == nil || now.Requests < was.Requests || now.Delivered < was.Delivered || now.Lost < was.Lost {
			ended := *was
			ended.Waiting, ended.DeadLetters, ended.Lag = 0, 0, 0
			addTold(f.gone, hookLabel(id[0], id[1]), &ended)
		}
	}
	for id, was := range f.streams {
		if now := streams[id]; now.Stored < was.Stored || now.Missed < was.Missed {
			f.missing.Stored += was.Stored
			f.missing.Missed += was.Missed
		}
	}
}

// toldHook returns the figures of a hook for metrics.
func toldHook(h *events.HookStats) *metrics.ToldHook {
	buckets, sum := h.Durations.Read()
	return &metrics.ToldHook{
		Delivered: int64(h.Delivered), Refused: int64(h.Refused), Lost: int64(h.Lost), Waiting: int64(h.Waiting), DeadLetters: int64(h.DeadLetters),
		Requests: int64(h.Requests), Failed: int64(h.Failed), Lag: h.Lag,
		Durations: metrics.Histogram{Bounds: webhook.Bounds[:], Buckets: buckets[:], Sum: sum},
	}
}

// addTold adds the figures of a hook to those of its label.
func addTold(by map[string]*metrics.ToldHook, name string, h *metrics.ToldHook) {
	t := by[name]
	if t == nil {
		t = &metrics.ToldHook{Hook: name}
		by[name] = t
	}
	t.Delivered += h.Delivered
	t.Refused += h.Refused
	t.Lost += h.Lost
	t.Waiting += h.Waiting
	t.DeadLetters += h.DeadLetters
	t.Requests += h.Requests
	t.Failed += h.Failed
	t.Lag = max(t.Lag, h.Lag)
	t.Durations.Add(h.Durations)
}

// figures returns the figures of the hooks that decide, and the counters of those that did.
func (all *deciders) figures() []metrics.DecidingHook {
	all.mu.Lock()
	defer all.mu.Unlock()
	by := make(map[string]*metrics.DecidingHook)
	for name, h := range all.gone {
		by[name] = countersOf(h)
	}
	for instance, list := range all.by {
		for _, d := range list {
			for _, h := range d.Stats() {
				addDeciding(by, hookLabel(instance, h.Hook), &h)
			}
		}
	}
	list := make([]metrics.DecidingHook, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, *by[name])
	}
	return list
}

// countersOf returns a copy of figures, without those that are of the present.
func countersOf(h *metrics.DecidingHook) *metrics.DecidingHook {
	c := *h
	c.InFlight, c.Waiting, c.Open = 0, 0, 0
	c.Kinds = slices.Clone(h.Kinds)
	for i := range c.Kinds {
		c.Kinds[i].Durations.Buckets = slices.Clone(h.Kinds[i].Durations.Buckets)
	}
	return &c
}

func addDeciding(by map[string]*metrics.DecidingHook, name string, h *hooks.HookStats) {
	if len(h.Kinds) == 0 {
		return // it is only told
	}
	f := by[name]
	if f == nil {
		f = &metrics.DecidingHook{Hook: name}
		by[name] = f
	}
	f.Requests += h.Requests
	f.Retries += h.Retries
	f.Busy += h.Busy
	f.Away += h.Away
	f.InFlight += h.InFlight
	f.Waiting += h.Waiting
	if h.Open {
		f.Open++
	}
	for _, k := range h.Kinds {
		i := slices.IndexFunc(f.Kinds, func(d metrics.Decisions) bool { return d.Kind == k.Kind })
		if i < 0 {
			i = len(f.Kinds)
			f.Kinds = append(f.Kinds, metrics.Decisions{Kind: k.Kind})
		}
		d := &f.Kinds[i]
		d.Allowed += k.Allowed
		d.Refused += k.Refused
		d.Unanswered += k.Unanswered
		d.Durations.Add(metrics.Histogram{Bounds: hooks.Bounds(), Buckets: k.Buckets, Sum: k.Sum})
	}
	slices.SortFunc(f.Kinds, func(a, b metrics.Decisions) int { return cmp.Compare(a.Kind, b.Kind) })
}

// watchedHooks is observer.Options.Hooks.
func (d *daemon) watchedHooks() (list []observer.HookCounts) {
	at := make(map[[2]string]int)
	of := func(instance, hook string) *observer.HookCounts {
		id := [2]string{instance, hook}
		i, ok := at[id]
		if !ok {
			i = len(list)
			at[id] = i
			list = append(list, observer.HookCounts{Instance: instance, Hook: hook})
		}
		return &list[i]
	}
	d.deciders.each(func(instance string, decider *hooks.Decider) {
		for _, h := range decider.Stats() {
			if len(h.Kinds) == 0 {
				continue // it is only told
			}
			c, sum := of(instance, h.Hook), h.Sum()
			c.Decides, c.Requests, c.InFlight, c.Waiting, c.Open = true, h.Requests, h.InFlight, h.Waiting, h.Open
			c.Allowed, c.Refused, c.Unanswered, c.Buckets = sum.Allowed, sum.Refused, sum.Unanswered, sum.Buckets
		}
	})
	for _, s := range d.events.Stats() {
		for i := range s.Hooks {
			h := &s.Hooks[i]
			c := of(h.Instance, h.Hook)
			c.Told, c.Delivered, c.Lost, c.DeadLetters = true, int64(h.Delivered), int64(h.Lost), int64(h.DeadLetters)
			c.Behind, c.Lag, c.LastError = int64(h.Waiting), h.Lag, h.LastError
		}
	}
	return list
}
