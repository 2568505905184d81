package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// Noise is how bad the network is.
type Noise struct {
	Drop   float64       // the share of packets that are lost
	Repeat float64       // the share of packets that arrive twice
	Delay  time.Duration // the upper bound of the usual latency
	Late   time.Duration // one packet in 200 is late by up to this
}

// World is a network of hosts, and its time.
type World struct {
	Rand  *rand.Rand
	Noise Noise
	Hosts []*Host
	// Tracing keeps a trace, which costs more than everything else.
	Tracing bool

	now    time.Duration
	queue  queue
	serial int
	cut    map[route]bool
	last   map[lifeRoute]time.Duration // when the last packet arrives: a sender's packets keep their order
	heard  map[route]time.Duration     // when the last packet arrived
	again  map[route]time.Duration     // when the first packet arrived, at all or after a silence
	rough  map[route]time.Duration     // until when it was cut, or one of its hosts paused or jammed
	trace  trace
}

// route leads from one host to another.
type route struct{ from, to *Host }

// lifeRoute is a route from one life of a host.
type lifeRoute struct {
	from *Life
	to   *Host
}

// New returns an empty world.
func New(seed uint64) *World {
	return &World{
		Rand: rand.New(rand.NewPCG(seed, 0)), cut: make(map[route]bool),
		last: make(map[lifeRoute]time.Duration), heard: make(map[route]time.Duration), again: make(map[route]time.Duration), rough: make(map[route]time.Duration),
	}
}

// Now returns the time since the world began.
func (w *World) Now() time.Duration { return w.now }

// After calls f after d.
func (w *World) After(d time.Duration, f func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, f})
}

// Run lets d pass. It stops early, and reports false, when stop reports true after an event.
func (w *World) Run(d time.Duration, stop func() bool) bool {
	for end := w.now + d; ; {
		if len(w.queue) == 0 || w.queue[0].at > end {
			w.now = end
			return true
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.f()
		if stop() {
			return false
		}
	}
}

// Cut cuts the route from one host to another, in that direction only.
func (w *World) Cut(from, to *Host) {
	w.cut[route{from, to}] = true
	w.Note("cut %s→%s", from.Name, to.Name)
}

// Heal heals all routes.
func (w *World) Heal() {
	for r := range w.cut {
		w.rough[r] = max(w.rough[r], w.now)
	}
	clear(w.cut)
	w.Note("all routes are healed")
}

// IsCut reports whether the route from one host to another is cut.
func (w *World) IsCut(from, to *Host) bool { return w.cut[route{from, to}] }

// Silence returns how long nothing from one host has reached the other.
func (w *World) Silence(from, to *Host) time.Duration { return w.now - w.heard[route{from, to}] }

// Calm returns how long nothing but noise has disturbed what two hosts send each
// other.
func (w *World) Calm(a, b *Host) time.Duration {
	if w.cut[route{a, b}] || w.cut[route{b, a}] {
		return 0
	}
	return max(0, w.now-max(w.rough[route{a, b}], w.rough[route{b, a}]))
}

// disturb records that a host is disturbed for d.
func (w *World) disturb(h *Host, d time.Duration) {
	for _, other := range w.Hosts {
		w.rough[route{h, other}] = max(w.rough[route{h, other}], w.now+d)
	}
}

func (w *World) notePacket(r route, data []byte, what string) {
	if w.Tracing {
		w.Note("%s→%s %s%s", r.from.Name, r.to.Name, cluster.Describe(data), what)
	}
}

// HeardAgain returns when a packet from one host reached the other for the first
// time, or for the first time after a silence of at least cluster.DownAfter.
func (w *World) HeardAgain(from, to *Host) time.Duration { return w.again[route{from, to}] }

// Note writes a line to the trace.
func (w *World) Note(format string, args ...any) {
	if w.Tracing {
		w.trace.add(w.now, fmt.Sprintf(format, args...))
	}
}

// Trace returns what happened last, oldest first.
func (w *World) Trace() string { return w.trace.String() }

// send sends a packet from a life to a host.
func (w *World) send(from *Life, to *Host, data []byte) {
	on, r := lifeRoute{from, to}, route{from.host, to}
	switch {
	case w.cut[r]:
		w.notePacket(r, data, ": cut")
		return
	case w.Rand.Float64() < w.Noise.Drop:
		w.notePacket(r, data, ": lost")
		return
	}
	delay := 100*time.Microsecond + w.upTo(w.Noise.Delay)
	if w.Noise.Late > 0 && w.Rand.IntN(200) == 0 {
		delay += w.upTo(w.Noise.Late)
	}
	at := max(w.now+delay, w.last[on]+1)
	w.last[on] = at
	data = append([]byte(nil), data...)
	w.After(at-w.now, func() { w.arrive(on, data) })
	if w.Rand.Float64() < w.Noise.Repeat {
		w.After(at-w.now+w.upTo(time.Second), func() { w.arrive(on, data) })
	}
}

// arrive delivers a packet to the node that runs on the host now.
func (w *World) arrive(on lifeRoute, data []byte) {
	life, r := on.to.life, route{on.from.host, on.to}
	if life == nil || life == on.from || w.cut[r] {
		return
	}
	life.do(func() {
		w.notePacket(r, data, "")
		if last, ok := w.heard[r]; !ok || w.now-last >= cluster.DownAfter {
			w.again[r] = w.now
		}
		w.heard[r] = w.now
		life.receive(data)
	})
}

// upTo returns a random duration below d.
func (w *World) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.Rand.Int64N(int64(d)))
}

// event is a function to call at a time. Events of one time are ordered by serial.
type event struct {
	at     time.Duration
	serial int
	f      func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
