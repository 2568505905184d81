package presence

import "time"

// pace is how fast clients of one topic are told that a node is up or down: 4 MiB may wait for a client
// (channels.Limits.OutboundBytes), and 100,000 leaves are some 9 MB.
type pace struct {
	first, next int           // bytes of keys and metas: at once, and in each step
	every       time.Duration // between two steps; 0: tests make them
}

// defaultPace is 1 MiB and 6.4 MiB a second. With it the presences of a node that was killed are gone within 8 s, of which
// 6 are the silence after which it counts as down.
var defaultPace = pace{first: 1 << 20, next: 256 << 10, every: 40 * time.Millisecond}

// portionMost and portionBytes bound how much is shown or hidden under one hold of the lock. A diff of it is
// smaller than maxPayload.
const (
	portionMost  = 1000
	portionBytes = 128 << 10
)

// batch is presences of a topic that may have to be shown or hidden.
type batch struct {
	topic string
	list  []*presence
}

// turn has all presences shown, or hidden.
func (r *Replica) turn(up bool) {
	if r.up == up {
		return
	}
	r.up = up
	for topic, sh := range r.shelves {
		list := make([]*presence, 0, len(sh.presences))
		for p := sh.first; p != nil; p = p.heldNext {
			if p.shown != up {
				list = append(list, p)
			}
		}
		r.later(topic, list)
	}
	r.begin()
}

// later adds presences to those that begin works on. What each is to be is seen when it is its turn.
func (r *Replica) later(topic string, list []*presence) {
	if len(list) > 0 {
		r.pending = append(r.pending, batch{topic, list})
	}
}

// begin does the first step, and has the others follow.
func (r *Replica) begin() {
	if !r.stepping {
		r.step(r.tracker.pace.first)
	}
}

// step works on pending, on so many bytes of each topic.
func (r *Replica) step(bytes int) {
	left := r.pending[:0]
	for _, b := range r.pending {
		if b.list = r.work(b, bytes); len(b.list) > 0 {
			left = append(left, b)
		}
	}
	clear(r.pending[len(left):])
	r.pending = left
	if r.stepping = len(left) > 0; !r.stepping {
		r.pending = nil
		return
	}
	if r.tracker.pace.every > 0 {
		r.tracker.timers.Add(1)
		time.AfterFunc(r.tracker.pace.every, r.nextStep)
	}
}

func (r *Replica) nextStep() {
	defer r.tracker.timers.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step(r.tracker.pace.next)
}

// work shows and hides presences of a topic, and returns those that are left.
func (r *Replica) work(b batch, bytes int) (left []*presence) {
	s := r.tracker.stripe(b.topic)
	for left = b.list; len(left) > 0 && bytes > 0; {
		s.mu.Lock()
		n, size := r.portion(s, b.topic, left)
		s.mu.Unlock()
		left, bytes = left[n:], bytes-size
	}
	return left
}

// portion does so with the first n of a list, which have so many bytes. It flushes at once: what is hidden has left before it may be shown
// again.
func (r *Replica) portion(s *stripe, topic string, list []*presence) (n, bytes int) {
	if s.closed {
		return len(list), 0
	}
	tp := s.topics[topic] // nil: nobody is in it
	list = list[:min(len(list), portionMost)]
	metas := make([]string, 0, len(list)) // of those that are hidden, which keep them
	hidden := make([]*presence, 0, len(list))
	for _, p := range list {
		show := r.up && !p.dropped
		if p.shown == show {
			n++
			continue
		}
		size := len(p.entry.key) + len(p.meta)
		if bytes > 0 && bytes+size > portionBytes {
			break
		}
		n, bytes = n+1, bytes+size
		if show {
			tp = r.tracker.topicOf(s, topic)
			tp.learn(p, p.meta)
			continue
		}
		metas, hidden = append(metas, p.meta), append(hidden, p)
		tp.withdraw(p)
		p.shown = false
	}
	if tp != nil {
		r.tracker.flush(s, tp)
	}
	for i, p := range hidden {
		p.meta = metas[i]
	}
	return n, bytes
}
