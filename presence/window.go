package presence

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// windowTimer ends a topic's windows. It exists from the first one on and is armed only while a diff waits.
type windowTimer struct {
	timer *time.Timer
	armed bool // guarded by the stripe's mu: a flush that does not come from the timer disarms it
}

func (w *windowTimer) isArmed() bool { return w != nil && w.armed }

// settle makes sure that clients are told of the changes in tp: now, or when the window ends. The stripe is locked.
func (t *Tracker) settle(s *stripe, tp *topic) {
	if t.options.Window <= 0 || !tp.diffs {
		if tp.fetch == nil || !tp.fetch.asking { // else it is told with the answer
			t.flush(s, tp)
		}
		return
	}
	if tp.timer.isArmed() {
		return
	}
	t.timers.Add(1)
	if tp.timer == nil {
		w := &windowTimer{armed: true}
		tp.timer = w
		w.timer = time.AfterFunc(t.options.Window, func() { t.windowEnds(s, tp, w) })
		return
	}
	tp.timer.armed = true
	tp.timer.timer.Reset(t.options.Window)
}

// windowEnds is the timer's function.
func (t *Tracker) windowEnds(s *stripe, tp *topic, w *windowTimer) {
	defer t.timers.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.armed {
		w.armed = false
		t.flush(s, tp)
	}
}

// flush sends the diff of the changes in tp, if there are any, and drops the topic if it is empty. The stripe is
// locked.
func (t *Tracker) flush(s *stripe, tp *topic) {
	if w := tp.timer; w.isArmed() {
		w.armed = false
		if w.timer.Stop() {
			t.timers.Done()
		} else {
			// windowEnds waits for the lock and will find nothing to do. This timer must not be armed again before
			// then, or one of the two ends would be lost.
			tp.timer = nil
		}
	}
	if len(tp.dirty) > 0 {
		t.tell(s, tp, len(tp.dirty))
	} else {
		s.drop(tp)
	}
}

// tell makes the first n dirty entries known, apart from those that wait for Fetch. The stripe is locked.
func (t *Tracker) tell(s *stripe, tp *topic, n int) {
	told := tp.dirty[:n]
	if tp.fetch != nil {
		told = t.tellable(tp, n)
	}
	if len(told) > 0 {
		t.publish(s, tp, told)
	}
	if tp.fetch != nil {
		t.proceed(s, tp)
	}
	s.drop(tp)
}

// publish tells other nodes, clients and HandleMetas of changes.
func (t *Tracker) publish(s *stripe, tp *topic, told []changedEntry) {
	if t.options.Replicator != nil {
		t.replicate(tp, told)
	}
	t.observe(tp, told)
	if tp.diffs {
		t.sendDiff(s, tp, told)
	}
	if t.watch != nil && t.watch.add(tp, told) {
		t.timers.Add(1)
		go t.watch.run()
	}
	if tp.fetch != nil {
		tp.fetch.told(told)
	}
	tp.commit(told)
}

// drop removes a topic in which nobody is and that waits for nothing.
func (s *stripe) drop(tp *topic) {
	if len(tp.entries) == 0 && !tp.fetch.isBusy() && !tp.timer.isArmed() {
		delete(s.topics, tp.name)
	}
}

// sendDiff broadcasts what commit is about to make known.
func (t *Tracker) sendDiff(s *stripe, tp *topic, told []changedEntry) {
	buf := getBuffer()
	defer putBuffer(buf)
	w := diffWriter{tracker: t, stripe: s, topic: tp, most: tp.maxPayload, dst: *buf}
	tp.writeDiff(&w, told)
	*buf = w.dst
}

// broadcast sends a diff. It runs on timers too, where no panic may pass: one of the Broadcaster is told as its error,
// one of OnError is told to nobody.
func (t *Tracker) broadcast(s *stripe, topic string, diff []byte) {
	if err := t.tryBroadcast(s, topic, diff); err != nil {
		t.report(topic, err)
	}
}

func (t *Tracker) report(topic string, err error) {
	if t.options.OnError != nil {
		defer callback.Recover("OnError", &err)
		t.options.OnError(topic, err)
	}
}

func (t *Tracker) tryBroadcast(s *stripe, topic string, diff []byte) (err error) {
	defer callback.Recover("Broadcaster", &err)
	s.diff.JSON, s.diff.Again = diff, t.again
	err = t.broadcaster.BroadcastLocal(topic, EventDiff, &s.diff)
	s.diff.JSON = nil
	return err
}
