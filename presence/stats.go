package presence

// Stats are the current contents of a tracker, presences of other nodes included.
type Stats struct {
	Topics int // with somebody present
	Keys   int // present, counted for each topic
	Bytes  int // of keys, metas and what Fetch has added, with a little for each key
}

// Stats returns what the tracker holds. It visits every topic, and locks a part of them at a time.
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
