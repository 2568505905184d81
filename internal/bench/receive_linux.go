package bench

import "time"

// receiving is the job of connections that receive publications.
type receiving struct {
	w       *worker
	streams []stream // of each connection, one for each publisher of its topic
}

func newReceiving(w *worker) *receiving {
	return &receiving{w: w, streams: make([]stream, len(w.conns)*w.plan.Publishers)}
}

func (r *receiving) due(int64) time.Duration { return forever }

func (r *receiving) message(i int, m *message, size int, at int64) {
	if string(m.event) != r.w.plan.BroadcastEvent {
		countPresence(r.w, m, size)
		return
	}
	c := &r.w.conns[i]
	k, ok := findMark(m.payload)
	// Publisher p publishes on topic p % Topics.
	publisher := k.sender / r.w.plan.Topics
	if !ok || int(c.topic) != k.sender%r.w.plan.Topics || publisher >= r.w.plan.Publishers {
		r.w.stray.Add(1)
		return
	}
	switch r.streams[i*r.w.plan.Publishers+publisher].noteNumber(k.number) {
	case twice:
		r.w.twice.Add(1)
		return
	case late:
		r.w.late.Add(1)
	}
	r.w.latency.add(at - k.since)
	r.w.delivered.Add(1)
	r.w.last.Store(at)
	c.received++
}

// left counts what connection i can no longer receive as progress, so that the
// publishers do not wait for it.
func (r *receiving) left(i int) {
	c := &r.w.conns[i]
	if missing := r.w.topic[c.topic].published.Load() - c.received; missing > 0 {
		r.w.advance(missing)
	}
}
