package bench

import (
	"bytes"
	"strings"
	"time"
)

// publishing is the job of the worker whose connections publish, in turn.
type publishing struct {
	w        *worker
	schedule schedule // open loop
	n        int64    // publications sent
	turn     int      // the index of the next publisher
	numbers  []uint32 // the next number of each publisher
	middle   string   // of a publication, between topic and mark
	until    int64
	// awaited has, for each outstanding publication, the progress at which it has
	// reached all receivers. The oldest is first.
	awaited []int64
}

func newPublishing(w *worker) *publishing {
	return &publishing{
		w: w, numbers: make([]uint32, len(w.conns)), schedule: schedule{rate: w.plan.Rate},
		middle: `","` + quoted(w.plan.Event) + `",{"body":"` + strings.Repeat("x", w.plan.Size) + `","bench":"`,
	}
}

func (p *publishing) due(now int64) time.Duration {
	if p.until == 0 {
		p.begin(now)
	}
	for n := 0; !p.finished() && p.next(); n++ {
		if n == atOnce {
			return 0
		}
		since := monotonic()
		if p.schedule.rate > 0 {
			due, wait := p.schedule.takeDue(since)
			if wait > 0 {
				return time.Duration(wait)
			}
			p.w.lag.add(since - due)
			since = due
		} else if !p.hasRoom() {
			return idleWait
		}
		p.publish(since)
	}
	p.w.finishJob()
	return forever
}

func (p *publishing) begin(now int64) {
	p.schedule.start, p.until = now, now+int64(p.w.plan.Duration)
	p.w.board.begun.Store(now)
}

func (p *publishing) finished() bool {
	if p.w.plan.Messages > 0 {
		return p.n >= int64(p.w.plan.Messages)
	}
	if p.schedule.rate > 0 {
		return p.schedule.due() >= p.until // everything that was due is sent, however late
	}
	return monotonic() >= p.until
}

// hasRoom reports whether fewer publications than the window are outstanding. If
// not, a receiving worker will wake this one.
func (p *publishing) hasRoom() bool {
	if len(p.awaited) < p.w.plan.Window {
		return true
	}
	p.w.board.awaited.Store(p.awaited[0])
	if p.w.board.progress.Load() < p.awaited[0] {
		return false
	}
	p.awaited = append(p.awaited[:0], p.awaited[1:]...)
	return true
}

// next moves the turn to a publisher that is joined, and reports whether there is
// one.
func (p *publishing) next() bool {
	for range p.w.conns {
		if p.w.conns[p.turn].state == joined {
			return true
		}
		p.turn = (p.turn + 1) % len(p.w.conns)
	}
	return false
}

func (p *publishing) publish(since int64) {
	w, i := p.w, p.turn
	c := &w.conns[i]
	p.n++
	p.turn = (p.turn + 1) % len(w.conns)
	w.text = append(w.text[:0], `["`+joinRef+`","p","`...)
	w.text = w.appendTopic(w.text, i)
	w.text = append(w.text, p.middle...)
	w.text = mark{sender: i, number: p.numbers[i], since: since}.append(w.text)
	w.text = append(w.text, `"}]`...)
	p.numbers[i]++
	t := &w.topic[c.topic]
	expected := w.board.expected.Add(t.receivers.Load())
	t.published.Add(1)
	w.board.published.Add(1)
	if p.schedule.rate == 0 {
		p.awaited = append(p.awaited, expected)
	}
	w.frame = w.appendFrame(w.frame[:0], opText, w.text)
	w.send(i, w.frame)
}

// message counts the copies that a publisher gets of its own topic, and reports
// publications that were rejected.
func (p *publishing) message(_ int, m *message, _ int, _ int64) {
	switch {
	case string(m.event) == p.w.plan.BroadcastEvent:
		p.w.copies.Add(1)
	case string(m.event) == "phx_reply":
		p.w.replies.Add(1)
		if !bytes.Contains(m.payload, statusOK) {
			p.w.fail("a publication was rejected: %s", shortened(m.payload))
		}
	}
}

func (p *publishing) left(int) {}
