package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
)

// Check reports what [Manager.Create] would refuse about a spec, with an
// [fielderr.List] where the field is known: it makes a life of it, its type's
// logic included, and discards it. Nothing is started or kept, and an existing
// instance with the same id does not matter.
func (m *Manager) Check(spec Spec) error { return m.check(m.bounds(), spec, false) }

// CheckWithin is Check for [Manager.Declare], on a server with other limits, those of
// the next [Manager.Reconfigure].
func (m *Manager) CheckWithin(bounds channels.Limits, spec Spec) error {
	return m.check(bounds, spec, true)
}

func (m *Manager) check(bounds channels.Limits, spec Spec, declared bool) error {
	spec = spec.clone()
	kind, err := m.prepare(&spec, Limits{}, bounds)
	if err != nil {
		return err
	}
	return m.tryBuild(&member{manager: m, id: spec.ID, declared: declared}, kind, spec)
}
