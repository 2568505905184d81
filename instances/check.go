package instances

// Check says what [Manager.Create] would refuse about a spec, with an
// [*InvalidError] where the field is known: it makes a life of it, its type's
// logic included, and discards it. Nothing is started or kept, and it does not
// matter whether there is an instance of the same id.
func (m *Manager) Check(spec Spec) error {
	spec = spec.clone()
	kind, err := m.prepare(&spec)
	if err != nil {
		return err
	}
	life, err := m.build(&member{manager: m, id: spec.ID}, kind, spec)
	if err != nil {
		return err
	}
	life.discard()
	return nil
}
