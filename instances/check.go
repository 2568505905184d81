package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
)

// Check reports what [Manager.Create] would refuse about a spec, with an
// [fielderr.List] where the field is known: it makes a life of it, its type's
// logic included, and discards it. Nothing is started or kept, and an existing
// instance with the same id does not matter.
func (m *Manager) Check(spec Spec) error { return m.CheckWithin(m.bounds(), spec) }

// CheckWithin is Check for a server with other limits, those of the next
// [Manager.Reconfigure].
func (m *Manager) CheckWithin(bounds channels.Limits, spec Spec) error {
	spec = spec.clone()
	kind, err := m.prepare(&spec, Limits{}, bounds)
	if err != nil {
		return err
	}
	return m.tryBuild(kind, spec)
}
