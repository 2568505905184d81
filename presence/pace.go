package presence

import "time"

// pace bounds how fast clients of a topic are told that a node is up or down. 100,000 leaves take about 9 MB, and a
// client for which more than 4 MiB waits is cut off (channels.Limits.OutboundBytes).
type pace struct {
	first, next int           // bytes of keys and metas: at once, and in each step
	every       time.Duration // between two steps; 0: tests make the steps
}

// defaultPace is 1 MiB, then 6.4 MiB a second: 100,000 leaves take 1.3 s. A killed node counts as down after 6 s of
// silence, and its presences should be gone after 8 s.
var defaultPace = pace{first: 1 << 20, next: 256 << 10, every: 40 * time.Millisecond}

// portionMost and portionBytes bound what is shown or hidden under one hold of the lock. Its diff is smaller than maxPayload.
const (
	portionMost  = 1000
	portionBytes = 128 << 10
)

// batch is a list of presences of a topic that may have to be shown or hidden.
type batch struct {
	topic string
	list  []*presence
}

// setUp starts showing all presences, or hiding them.
func (r *Replica) setUp(up bool) {
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
	r.beginSteps()
}

// later adds presences to pending. Whether each is shown or hidden is decided when it is processed.
func (r *Replica) later(topic string, list []*presence) {
	if len(list) > 0 {
		r.pending = append(r.pending, batch{topic, list})
	}
}

// beginSteps does the first step. A timer does the others.
func (r *Replica) beginSteps() {
	if !r.stepping {
		r.showStep(r.tracker.pace.first)
	}
}

// showStep processes up to bytes of each topic in pending.
func (r *Replica) showStep(bytes int) {
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
	r.showStep(r.tracker.pace.next)
}

// work shows or hides presences of one topic, and returns those left for the next step.
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

// portion shows or hides the first presences of a list, and returns their number and size. It flushes at once, so that
// a presence that is hidden and shown again leaves in between.
func (r *Replica) portion(s *stripe, topic string, list []*presence) (n, bytes int) {
	if s.closed {
		return len(list), 0
	}
	tp := s.topics[topic] // nil: the topic is empty
	list = list[:min(len(list), portionMost)]
	metas := make([]string, 0, len(list)) // of hidden presences, which keep them
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
