package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/history"
)

// addVisitors has visitors come, after the readers.
func (t *town) addVisitors() {
	t.connected = t.Rand.IntN(2) == 0
	for range 2 {
		t.visitors = append(t.visitors, t.newVisitor())
	}
	t.every(150*time.Millisecond, func() bool {
		t.visit(t.visitors[t.Rand.IntN(len(t.visitors))])
		return t.quiet == 0
	})
	t.every(2*time.Second, func() bool { // heartbeats
		for _, v := range t.visitors {
			if v.line != nil && !v.asleep {
				v.say(func() {})
			}
		}
		return true
	})
}

// visit does something with a visitor.
func (t *town) visit(v *visitor) {
	if v.asleep || v.gone {
		return
	}
	topic := topics[t.Rand.IntN(len(topics))]
	n := t.Rand.IntN(48)
	switch l := v.line; {
	case l == nil && n < 16:
		if a := t.open(); a != nil {
			v.connect(a)
		}
	case l == nil:
	case n == 0:
		v.cut()
	case n == 1:
		v.goSilent()
	case n == 2 && t.Now()-v.joined > 2*swiftWithin:
		v.sleep(t.upTo(10 * time.Second))
	case n < 5 && v.follows[topic] == nil:
		v.follow(topic)
		v.join(topic)
	case n == 5 && v.follows[topic] != nil && len(v.follows) > 1:
		v.leave(topic)
	case n == 6 && v.follows[topic] != nil:
		v.rejoin(topic)
	case n < 16:
		v.say(func() { l.a.say(topic, v.sender, 0) })
	}
}

// open returns an archive that takes visitors, nil if there is none.
func (t *town) open() *archive {
	var open []*archive
	for _, r := range t.awake() {
		if r.archive.ready && !r.archive.drains && (!t.connected || t.knowsAll(r)) {
			open = append(open, r.archive)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return open[t.Rand.IntN(len(open))]
}

// knowsAll reports whether a node hears all others, as one does that reports that it is ready.
func (t *town) knowsAll(r *resident) bool {
	up := map[cluster.LogID]bool{}
	for _, p := range r.life.Node.Stats().Peers {
		up[p.Log] = p.Up
	}
	for _, other := range t.awake() {
		if other != r && !up[other.life.Node.ID()] {
			return false
		}
	}
	return true
}

// drain ends a node as package main does: its sessions go to others, and its clients too.
func (t *town) drain(h *Host) {
	r := t.running[h]
	a := r.archive
	stop := func() {
		t.end(h, h.Stop)
		t.After(t.upTo(5*time.Second), func() { t.start(h) })
	}
	if len(t.visitors) == 0 {
		stop()
		return
	}
	t.Note("%s drains", h.Name)
	a.drains = true
	a.sessions().HandOver()
	for _, l := range slices.Clone(a.lines) {
		a.life.AfterFunc(t.upTo(300*time.Millisecond), l.hangUp)
	}
	a.life.AfterFunc(500*time.Millisecond, func() {
		for _, l := range slices.Clone(a.lines) {
			l.hangUp()
		}
		stop()
	})
}

// settleDown waits until all visitors are connected and have acknowledged everything, and
// has them come back once more, each to any node: nothing may be sent again, or be missing.
func (t *town) settleDown() {
	for range 2 {
		for _, v := range t.visitors {
			if v.line != nil {
				v.cut()
			}
		}
		t.Run(time.Second, t.failed)
		for _, v := range t.visitors {
			if a := t.open(); a != nil {
				v.connect(a)
			}
		}
		t.Run(behindWait+8*time.Second, t.failed)
		if t.failed() {
			return
		}
		for _, v := range t.visitors {
			t.checkLive(v)
		}
		t.calm = true
	}
}

// waitLong waits until sessions are forgotten: then nothing is left of them.
func (t *town) waitLong() {
	if t.failed() || len(t.visitors) == 0 {
		return
	}
	for _, v := range t.visitors {
		v.cut()
		v.gone = true
	}
	t.Run(history.SessionAge+30*time.Second, t.failed)
	for _, r := range t.awake() {
		if st := r.archive.sessions().Stats(); st.Connected != 0 || st.Kept != 0 || st.Bytes != 0 {
			t.fail("%s still has sessions: %+v", r.host.Name, st)
		}
	}
}

// checkLive checks that a visitor has everything.
func (t *town) checkLive(v *visitor) {
	l := v.line
	if l == nil || !l.open || len(l.out.way) > 0 {
		t.fail("visitor %d is not connected", v.id)
		return
	}
	for _, topic := range slices.Sorted(maps.Keys(v.follows)) {
		if r := l.room(topic); r == nil || r.catchingUp {
			t.fail("visitor %d still waits for what it missed of %s", v.id, topic)
			return
		}
		v.checkHas(l, topic, parsePosition(l.a.space.Page(topic, history.Ask{Last: -1}).Next))
	}
}

// checkSessions checks that nodes keep as many sessions as they may.
func (a *archive) checkSessions() {
	st := a.sessions().Stats()
	if most := a.store.Stats().Memory / 4; st.Bytes > most {
		a.town.fail("the kept sessions of %s take %d bytes, more than %d", a.host.Name, st.Bytes, most)
	}
	if st.Connected+st.Kept > len(a.town.visitors) || st.Kept == 0 && st.Bytes != 0 {
		a.town.fail("%s has %d sessions with a connection and %d without, which take %d bytes", a.host.Name, st.Connected, st.Kept, st.Bytes)
	}
}
