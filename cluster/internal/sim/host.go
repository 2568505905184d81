package sim

import (
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// Host runs nodes of one name, one after the other.
type Host struct {
	Name  string
	world *World
	life  *Life // nil if no node runs
}

// AddHost adds a host that runs no node yet.
func (w *World) AddHost(name string) *Host {
	h := &Host{Name: name, world: w}
	w.Hosts = append(w.Hosts, h)
	return h
}

// Life is one run of a node. It is the node's Transport and Clock.
type Life struct {
	Node *cluster.Node

	host    *Host
	skew    time.Duration // how far its clock is ahead
	receive func([]byte)
	ended   bool
	paused  bool
	waiting []func() // what happened while it was paused
	jammed  bool     // the transport refuses what it sends
}

var (
	_ cluster.Transport = (*Life)(nil)
	_ cluster.Clock     = (*Life)(nil)
)

// Life returns the node that runs on the host, or nil.
func (h *Host) Life() *Life { return h.life }

// Start starts a node on the host. Its clock is off by up to a minute.
func (h *Host) Start(o cluster.Options) *Life {
	w := h.world
	l := &Life{host: h, skew: w.upTo(time.Minute)}
	h.life = l
	o.Name = h.Name
	if o.ID == 0 {
		o.ID = cluster.LogID(w.Rand.Uint64() | 1)
	}
	for _, other := range w.Hosts {
		w.heard[route{other, h}] = w.now
	}
	w.Note("%s starts as %v", h.Name, o.ID)
	var err error
	if l.Node, err = cluster.Start(l, l, o); err != nil {
		panic(err) // a Life always opens
	}
	return l
}

// Kill ends the node as SIGKILL does.
func (h *Host) Kill() {
	h.world.Note("%s is killed", h.Name)
	h.endLife()
}

// Stop ends the node as SIGTERM does: it says goodbye.
func (h *Host) Stop() {
	h.world.Note("%s stops", h.Name)
	h.life.Node.Close()
	h.endLife()
}

func (h *Host) endLife() {
	h.life.ended = true
	h.life = nil
}

// Paused reports whether the node is stopped as by SIGSTOP.
func (l *Life) Paused() bool { return l.paused }

// Pause stops the node for d as SIGSTOP and SIGCONT do.
func (l *Life) Pause(d time.Duration) {
	w := l.host.world
	w.Note("%s pauses for %v", l.host.Name, d)
	l.paused = true
	w.disturb(l.host, d)
	w.After(d, func() {
		if l.ended {
			return
		}
		l.paused = false
		w.Note("%s resumes", l.host.Name)
		for _, other := range w.Hosts { // what arrived during the pause is read now
			r := route{other, l.host}
			w.heard[r] = min(w.now, w.heard[r]+d)
		}
		for !l.paused && len(l.waiting) > 0 {
			f := l.waiting[0]
			l.waiting = l.waiting[1:]
			f()
		}
	})
}

// Jam makes the transport refuse what the node sends to all, for d.
func (l *Life) Jam(d time.Duration) {
	l.host.world.Note("%s cannot send", l.host.Name)
	l.jammed = true
	l.host.world.disturb(l.host, d)
	l.host.world.After(d, func() { l.jammed = false })
}

// do calls f now, or when the node resumes. It does nothing after the node's end.
func (l *Life) do(f func()) {
	switch {
	case l.ended:
	case l.paused:
		l.waiting = append(l.waiting, func() {
			if !l.ended {
				f()
			}
		})
	default:
		f()
	}
}

// Open implements cluster.Transport.
func (l *Life) Open(_ cluster.LogID, receive func([]byte)) error {
	l.receive = receive
	return nil
}

var errJammed = errors.New("sim: the transport is jammed")

// ToAll implements cluster.Transport.
func (l *Life) ToAll(data []byte) error {
	if l.jammed {
		return errJammed
	}
	for _, h := range l.host.world.Hosts {
		l.host.world.send(l, h, data) // to a later life on its own host too
	}
	return nil
}

// To implements cluster.Transport.
func (l *Life) To(log cluster.LogID, data []byte) {
	for _, h := range l.host.world.Hosts {
		if h.life != nil && h.life.Node != nil && h.life.Node.ID() == log {
			l.host.world.send(l, h, data)
		}
	}
}

// Close implements cluster.Transport.
func (l *Life) Close() error { return nil }

// Now implements cluster.Clock.
func (l *Life) Now() time.Duration { return l.host.world.now + l.skew }

// AfterFunc implements cluster.Clock.
func (l *Life) AfterFunc(d time.Duration, f func()) (stop func()) {
	stopped := false
	l.host.world.After(d, func() {
		if !stopped {
			l.do(f)
		}
	})
	return func() { stopped = true }
}
