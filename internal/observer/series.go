package observer

// series is a ring of the last samples: 12 kB once it is full. It overwrites, so it
// is not the queue that the rings of netloop are.
type series struct {
	next    int // where the next one goes, once it is full
	samples []sample
}

// sample is one second. The rates are kept in 32 bits, which is enough for a
// chart.
type sample struct {
	connections                                uint32
	messagesIn, messagesOut, bytesIn, bytesOut float32
}

func (s *series) add(connections int64, r Rates) {
	one := sample{uint32(connections), float32(r.MessagesIn), float32(r.MessagesOut), float32(r.BytesIn), float32(r.BytesOut)}
	if len(s.samples) < kept {
		s.samples = append(s.samples, one)
		return
	}
	s.samples[s.next] = one
	s.next = (s.next + 1) % kept
}

func (s *series) history() History {
	h := History{Connections: make([]int64, 0, len(s.samples)), Rates: make([]Rates, 0, len(s.samples))}
	for i := range s.samples {
		one := s.samples[(s.next+i)%len(s.samples)]
		h.Connections = append(h.Connections, int64(one.connections))
		h.Rates = append(h.Rates, Rates{
			MessagesIn: float64(one.messagesIn), MessagesOut: float64(one.messagesOut),
			BytesIn: float64(one.bytesIn), BytesOut: float64(one.bytesOut),
		})
	}
	return h
}
