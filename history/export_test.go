package history

// Sweep drops what is too old, as the store does by itself now and then.
func (s *Store) Sweep() {
	for _, sp := range s.list {
		sp.sweep()
	}
	s.own.forgetOld(s.now())
	if s.shared != nil {
		s.shared.forgetOld(s.now())
	}
}

// BoundTails bounds the entries with tails, in bytes, until undo is called.
func BoundTails(size int) (undo func()) {
	before := tailBytes
	tailBytes = size
	return func() { tailBytes = before }
}

// Meet returns what two positions both include.
func Meet(a, b Position) Position { return *meet(&a, &b) }
