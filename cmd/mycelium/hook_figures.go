package main

import (
	"cmp"
	"maps"
	"slices"

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
	var all metrics.Hooks
	told := make(map[string]*metrics.ToldHook)
	for _, s := range w.d.events.Stats() {
		all.Events.Stored += int64(s.Stored)
		all.Events.Missed += int64(s.Missed)
		all.Events.OutboxBytes += s.Bytes
		all.Events.Followers += int64(s.Followers)
		for i := range s.Hooks {
			addTold(told, &s.Hooks[i])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		all.Told = append(all.Told, *told[name])
	}
	all.Deciding = w.d.deciders.figures()
	return all
}

func addTold(told map[string]*metrics.ToldHook, h *events.HookStats) {
	name := hookLabel(h.Instance, h.Hook)
	t := told[name]
	if t == nil {
		t = &metrics.ToldHook{Hook: name}
		told[name] = t
	}
	t.Delivered += int64(h.Delivered)
	t.Refused += int64(h.Refused)
	t.Lost += int64(h.Lost)
	t.Waiting += int64(h.Waiting)
	t.DeadLetters += int64(h.DeadLetters)
	t.Requests += int64(h.Requests)
	t.Failed += int64(h.Failed)
	t.Lag = max(t.Lag, h.Lag)
	buckets, sum := h.Durations.Read()
	t.Durations.Add(metrics.Histogram{Bounds: webhook.Bounds[:], Buckets: buckets[:], Sum: sum})
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
