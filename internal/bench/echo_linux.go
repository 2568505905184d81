package bench

import (
	"bytes"
	"strings"
	"time"
)

// echoing is the job of connections whose requests are answered.
type echoing struct {
	w        *worker
	started  bool
	until    int64
	schedule schedule // open loop
	next     int      // open loop: the connection whose turn it is
	streams  []stream // of answers
	numbers  []uint32 // of each connection, that of the next request
	after    []byte   // what follows the topic in a request
}

func newEchoing(w *worker) *echoing {
	e := &echoing{w: w, streams: make([]stream, len(w.conns)), numbers: make([]uint32, len(w.conns))}
	e.after = []byte(`","` + quoted(w.plan.Event) + `",{"body":"` + strings.Repeat("x", w.plan.Size) + `"}]`)
	return e
}

func (e *echoing) due(now int64) time.Duration {
	if !e.started {
		e.start(now)
	}
	if e.w.plan.Rate == 0 {
		if now < e.until {
			return time.Duration(e.until - now)
		}
		e.w.finishJob()
		return forever
	}
	for n := 0; e.schedule.due() < e.until; n++ { // all that are due, however late
		if n == atOnce {
			return 0
		}
		now = monotonic()
		due, wait := e.schedule.takeDue(now)
		if wait > 0 {
			return time.Duration(wait)
		}
		e.w.lag.add(now - due)
		if e.w.conns[e.next].state == joined {
			e.request(e.next, 1, due)
		}
		e.next = (e.next + 1) % len(e.w.conns)
	}
	e.w.finishJob()
	return forever
}

// start begins the schedule, or has each connection send its first requests.
func (e *echoing) start(now int64) {
	rate := e.w.plan.Rate
	e.started, e.until = true, now+int64(e.w.plan.Duration)
	e.schedule = schedule{start: now, rate: e.w.plan.rateOf(rate, len(e.w.conns))}
	for i := range e.w.conns {
		if rate == 0 && e.w.conns[i].state == joined {
			e.request(i, e.w.plan.Depth, now)
		}
	}
}

// request sends n requests in one go.
func (e *echoing) request(i, n int, since int64) {
	w := e.w
	w.frame = w.frame[:0]
	for range n {
		beat := w.plan.Event == heartbeatEvent
		if beat {
			w.text = append(w.text[:0], `[null,"e`...)
		} else {
			w.text = append(w.text[:0], `["`+joinRef+`","e`...)
		}
		w.text = mark{sender: i, number: e.numbers[i], since: since}.append(w.text)
		e.numbers[i]++
		if beat {
			w.text = append(w.text, `","phoenix","heartbeat",{}]`...)
		} else {
			w.text = append(w.text, `","`...)
			w.text = w.appendTopic(w.text, i)
			w.text = append(w.text, e.after...)
		}
		w.frame = w.appendFrame(w.frame, opText, w.text)
	}
	w.requests.Add(int64(n))
	w.send(i, w.frame)
}

func (e *echoing) message(i int, m *message, size int, at int64) {
	w := e.w
	if string(m.event) != "phx_reply" || len(m.ref) == 0 || m.ref[0] != 'e' {
		w.copies.Add(1)
		countPresence(w, m, size)
		return
	}
	k, ok := parseMark(m.ref[1:])
	if !ok || k.sender != i {
		w.stray.Add(1)
		return
	}
	switch e.streams[i].noteNumber(k.number) {
	case twice:
		w.twice.Add(1)
		return
	case late:
		w.late.Add(1)
	}
	if !bytes.Contains(m.payload, statusOK) {
		w.fail("a request was answered with %s", shortened(m.payload))
	}
	w.latency.add(at - k.since)
	w.replies.Add(1)
	w.last.Store(at)
	if w.plan.Rate == 0 && at < e.until {
		e.request(i, 1, at)
	}
}

func (e *echoing) left(int) {}
