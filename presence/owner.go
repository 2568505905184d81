package presence

import "sync"

// owner is the holder of a channel that has tracked something, until the channel ends. It is kept while it tracks nothing, so that a
// channel that tracks again and again is watched once.
type owner struct {
	holder
	tracker *Tracker  // static
	watch   sync.Once // makes everyone wait until OnEnd has been called
	ended   bool      // guarded by the stripe's mu
}

// own returns the owner for c, watching it for its end if nobody does yet. When it returns, a channel that had ended
// before is known to have ended.
func (t *Tracker) own(s *stripe, c Channel) (*owner, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	o := s.owners[c]
	if o == nil {
		o = &owner{tracker: t, holder: holder{channel: c}}
		if s.owners == nil {
			s.owners = make(map[Channel]*owner)
		}
		s.owners[c] = o
	}
	s.mu.Unlock()
	// Without the lock: OnEnd may run end at once. Not a closure of t, s and o, which each presence would have to keep.
	o.watch.Do(func() { c.OnEnd(o.channelEnded) })
	return o, nil
}

// channelEnded clears what the channel has left behind.
func (o *owner) channelEnded() {
	s := o.tracker.stripe(o.channel.Topic())
	s.mu.Lock()
	defer s.mu.Unlock()
	o.ended = true
	if s.closed {
		return
	}
	o.tracker.untrackAll(s, o)
	delete(s.owners, o.channel)
}
