package netloop

import "time"

// parker is the poller of portable loops: a goroutine that sleeps on a channel and a timer. All events come through
// the inbox.
type parker struct {
	loop   *Loop
	signal chan struct{}
	timer  *time.Timer
}

func newParker(l *Loop) *parker {
	p := &parker{loop: l, signal: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	l.poller = p
	go p.run()
	return p
}

func (p *parker) wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *parker) arm(d time.Duration) { p.timer.Reset(d) }

func (p *parker) replace() { go p.run() }

func (p *parker) stop() { p.timer.Stop() }

func (p *parker) run() {
	for !p.loop.ended {
		select {
		case <-p.signal:
			p.loop.runTurn()
		case <-p.timer.C:
			p.loop.beginEvent()
		}
	}
}
