package sim

import (
	"maps"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

const (
	// lateness is how late packets of a noisy world are.
	lateness = 3 * time.Second
	// longestPause is how long a node is paused at most.
	longestPause = 8 * time.Second
)

// check looks at the invariants that hold at any time. Those of what clients are
// told are checked when they are told it.
func (t *town) check() {
	for _, r := range t.awake() {
		t.checkView(r)
		t.checkGhosts(r)
		t.checkBounds(r)
	}
}

// shows reports whether r shows what another resident has.
func (r *resident) shows(other *resident) bool {
	for p, c := range r.of {
		if p.Log() == other.life.Node.ID() {
			return c.shown
		}
	}
	return false
}

// checkView compares what clients have been told with what there is of this
// node and of peers that are up.
func (t *town) checkView(r *resident) {
	want := maps.Clone(r.own)
	for _, info := range r.life.Node.Stats().Peers {
		for p, c := range r.of {
			if p.Log() == info.Log && info.Up {
				maps.Copy(want, c.people)
			}
		}
	}
	if !maps.Equal(want, r.view) {
		t.fail("%s has told its clients of %d presences, not of the %d that there are", r.host.Name, len(r.view), len(want))
	}
}

// checkGhosts looks for presences that should be gone.
func (t *town) checkGhosts(r *resident) {
	for ref := range r.view {
		owner := t.owners[ref]
		if owner == r.people {
			continue
		}
		if owner.life.ended {
			if later := t.running[owner.host]; later != nil && r.shows(later) {
				t.fail("%s still shows %s of %s, whose node has begun a new log", r.host.Name, ref, owner.host.Name)
			}
			if silence, bound := t.Silence(owner.host, r.host), cluster.DownAfter+2*time.Second+lateness; t.Calm(r.host, r.host) > bound && silence > bound {
				t.fail("%s still shows %s of %s, which was heard %v ago for the last time", r.host.Name, ref, owner.host.Name, silence)
			}
			continue
		}
		left, ok := t.left[ref]
		bound := 3 * time.Second
		if t.Noise.Drop > 0 || t.Noise.Late > 0 || t.Now()-t.quiet < lateness+bound {
			bound = 15 * time.Second
		}
		if ok && t.Now()-left > bound && t.Calm(owner.host, r.host) > bound {
			t.fail("%s still shows %s, which %s untracked %v ago", r.host.Name, ref, owner.host.Name, t.Now()-left)
		}
	}
}

// checkBounds looks at what a node keeps.
func (t *town) checkBounds(r *resident) {
	s, l := r.life.Node.Stats(), t.limits
	if sent := s.Kept - s.Waiting; l.Keep > 0 && sent > l.Keep {
		t.fail("%s keeps %d bytes that it has sent, more than %d", r.host.Name, sent, l.Keep)
	}
	for _, p := range s.Peers {
		if l.Hold > 0 && p.Held > l.Hold {
			t.fail("%s holds %d bytes of %s, more than %d", r.host.Name, p.Held, p.Name, l.Hold)
		}
	}
}

// checkConvergence compares what everybody is told with what is true, when
// nothing has happened for a while.
func (t *town) checkConvergence() {
	truth := map[string]bool{}
	all := t.awake()
	for _, r := range all {
		for ref := range r.own {
			truth[ref] = true
		}
	}
	for _, r := range all {
		for ref := range truth {
			if _, ok := r.view[ref]; !ok {
				t.fail("%s does not show %s of %s", r.host.Name, ref, t.owners[ref].host.Name)
			}
		}
		for ref := range r.view {
			if !truth[ref] {
				t.fail("%s shows %s of %s, which is not there", r.host.Name, ref, t.owners[ref].host.Name)
			}
		}
		r.desk.checkState()
		if n := r.desk.kind.Malformed(); n > 0 {
			t.fail("%s could not read %d entries", r.host.Name, n)
		}
		t.checkTalk(r, all)
	}
}

// checkTalk looks for messages that neither came nor were reported as lost.
func (t *town) checkTalk(r *resident, all []*resident) {
	for p, h := range r.talk.of {
		for _, speaker := range all {
			if h.last > 0 && speaker.life.Node.ID() == p.Log() && h.last+h.lost < speaker.talk.said {
				t.fail("%s has the messages of %s up to %d of %d, with %d lost", r.host.Name, p.Name(), h.last, speaker.talk.said, h.lost)
			}
		}
	}
}
