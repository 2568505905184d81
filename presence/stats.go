package presence

// Stats are how much a tracker holds now, of other nodes too while they are up.
type Stats struct {
	Topics int // with somebody present
	Keys   int // present, counted for each topic
	Bytes  int // of keys, metas and what Fetch has added, with a little for each key
}

// Stats counts topic by topic: it takes as long as there are topics, a share of
// them under a lock at a time, and is for what asks now and then.
func (t *Tracker) Stats() Stats {
	var sum Stats
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for _, tp := range s.topics {
			for c := tp.first; c != nil; c = c.next {
				sum.Bytes += c.size
			}
			if tp.live > 0 {
				sum.Topics++
				sum.Keys += int(tp.live)
			}
		}
		s.mu.Unlock()
	}
	return sum
}
