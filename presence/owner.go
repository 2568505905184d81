package presence

import "sync"

// owner is the holder of a channel that has tracked something, until the channel ends. It stays while the channel
// tracks nothing, so that a channel that tracks repeatedly calls OnEnd once.
type owner struct {
	holder
	tracker *Tracker  // static
	watch   sync.Once // makes concurrent callers wait until OnEnd has been called
	ended   bool      // guarded by the stripe's mu
}

// own returns the owner for c, creating it and calling OnEnd if there is none. If c had already ended, owner.ended is
// set when own returns.
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
	// Without the lock, because OnEnd may call channelEnded at once. A method value is smaller than a closure over t, s
	// and o, which each channel would keep.
	o.watch.Do(func() { c.OnEnd(o.channelEnded) })
	return o, nil
}

// channelEnded removes everything that the channel has tracked.
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
