package history

import (
	"sync"
	"sync/atomic"
	"time"
)

// MarkEvery is the shortest time between two positions that the clients of a topic are
// sent.
const MarkEvery = 2 * time.Second

// marker decides when the clients of a topic are sent its position: with the first
// message, and then every MarkEvery if there were more.
type marker struct {
	followers atomic.Int64 // clients that want positions

	mu      sync.Mutex // taken after a stripe's
	due     []string   // topics; guarded by mu
	pending bool       // sendDue will run; guarded by mu
}

// Follow adds n clients, or removes them if n is negative, that want positions.
func (sp *Space) Follow(n int) { sp.marker.followers.Add(int64(n)) }

// mark has the clients of a topic sent its position, now or soon. The stripe's lock
// is held.
func (sp *Space) mark(r *ring, now time.Time) {
	if sp.marker.followers.Load() == 0 || r.due {
		return
	}
	if now.UnixMilli()-r.marked >= MarkEvery.Milliseconds() {
		sp.markNow(r, now)
		return
	}
	r.due = true
	m := &sp.marker
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = append(m.due, r.topic)
	m.await(sp)
}

// await schedules sendDue if topics are due. The caller holds mu.
func (m *marker) await(sp *Space) {
	if !m.pending && len(m.due) > 0 {
		m.pending = true
		sp.store.after(MarkEvery/2, sp.sendDue)
	}
}

// markNow sends the position. The stripe's lock is held.
func (sp *Space) markNow(r *ring, now time.Time) {
	r.marked, r.due = now.UnixMilli(), false
	p := sp.position()
	sp.store.stats.marks.Add(1)
	for _, one := range sp.getReceivers() {
		(*one).Mark(r.topic, p)
	}
}

// sendDue sends the positions that are due.
func (sp *Space) sendDue() {
	m := &sp.marker
	m.mu.Lock()
	due := m.due
	m.due, m.pending = nil, false
	m.mu.Unlock()
	now := sp.store.now()
	var later []string
	for _, topic := range due {
		st := sp.stripe(topic)
		sp.lock(st)
		switch r := st.rings[topic]; {
		case r == nil || !r.due:
		case now.UnixMilli()-r.marked < MarkEvery.Milliseconds():
			later = append(later, topic)
		default:
			sp.markNow(r, now)
		}
		st.mu.Unlock()
	}
	m.mu.Lock()
	m.due = append(m.due, later...)
	m.await(sp)
	m.mu.Unlock()
}
