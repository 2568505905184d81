package sim

import "time"

// wire is one direction of a connection: what is sent arrives in that order, after a while,
// unless the wire is dead.
type wire struct {
	town   *town
	way    []func() // what has not arrived
	moving bool     // arrive will be called
	dead   bool
}

// wireDelay bounds how long something is on its way.
const wireDelay = 100 * time.Millisecond

func (w *wire) send(f func()) {
	if w.dead {
		return
	}
	w.way = append(w.way, f)
	w.move()
}

func (w *wire) move() {
	if !w.moving && len(w.way) > 0 {
		w.moving = true
		w.town.After(w.town.upTo(wireDelay), w.arrive)
	}
}

// arrive delivers some of what is on its way.
func (w *wire) arrive() {
	w.moving = false
	for n := 1 + w.town.Rand.IntN(max(1, len(w.way))); n > 0 && len(w.way) > 0; n-- {
		f := w.way[0]
		w.way = w.way[1:]
		f()
	}
	w.move()
}

// kill ends the wire without anybody noticing. Nothing arrives any more.
func (w *wire) kill() { w.dead, w.way = true, nil }
