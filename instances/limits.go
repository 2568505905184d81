package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// limitField is a limit in a spec and in package channels.
type limitField struct {
	name string // in JSON
	most int    // more makes no sense on any server
	spec *int
	of   func(*channels.Limits) *int
}

// bound returns the largest value that a spec may have on a server with these limits.
func (f limitField) bound(server *channels.Limits) int {
	if most := *f.of(server); most > 0 {
		return most
	}
	return f.most
}

// within returns the limits of an instance: those of l, none above bounds, or of
// base where l has none.
func (l Limits) within(base, bounds channels.Limits) channels.Limits {
	for _, f := range l.fields() {
		if *f.spec != 0 {
			*f.of(&base) = min(*f.spec, f.bound(&bounds))
		}
	}
	return base
}

// above returns the limits that are above bounds, except those equal to kept's,
// which are older than the bounds.
func (l Limits) above(bounds channels.Limits, kept Limits) (wrong fielderr.List) {
	before := kept.fields()
	for i, f := range l.fields() {
		if most := f.bound(&bounds); *f.spec > most && *f.spec != *before[i].spec {
			wrong.Add("/limits/"+f.name, "is %d: this server allows at most %d", *f.spec, most)
		}
	}
	return wrong
}

// bounds returns the limits that no instance exceeds: Options.Limits, or the
// host's for fields that are 0.
func (m *Manager) bounds() channels.Limits {
	bounds := m.host.Limits()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, f := range new(Limits).fields() {
		if own := *f.of(&m.options.Limits); own > 0 {
			*f.of(&bounds) = own
		}
	}
	return bounds
}

// limitsOf returns the limits that apply to an instance.
func (m *Manager) limitsOf(spec Spec) channels.Limits {
	bounds := m.bounds()
	m.mu.RLock()
	defer m.mu.RUnlock()
	return spec.Limits.within(m.options.Limits, bounds)
}

// warnOfLimits logs which limits of a spec limitsOf lowers, because the spec is
// older than the server's limits.
func (m *Manager) warnOfLimits(spec *Spec) {
	wrong := spec.Limits.above(m.bounds(), Limits{})
	if len(wrong) == 0 {
		return
	}
	texts := make([]string, len(wrong))
	for i, w := range wrong {
		texts[i] = w.Error()
	}
	m.log.Warn("limits above the server's: the server's apply").Str("instance", spec.ID).Strs("limits", texts).Write()
}
