package history

// Size is what a space has recorded now.
type Size struct {
	Topics   int64 // with recorded messages
	Messages int64
	Bytes    int64 // of memory, with all that messages need beside their payloads
}

// Size returns what the space has recorded. It visits all topics.
func (sp *Space) Size() (s Size) {
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		for _, r := range st.rings {
			s.Topics++
			s.Messages += int64(r.count)
			s.Bytes += r.memory
		}
		st.mu.Unlock()
	}
	return s
}
