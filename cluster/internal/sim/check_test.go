package sim

import (
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

const (
	// lateness bounds how late packets arrive in a noisy world.
	lateness = 3 * time.Second
	// longestPause bounds how long a node is paused.
	longestPause = 8 * time.Second
)

// check checks the invariants that hold at any time. The invariants of diffs are
// checked when a node sends one to its clients.
func (t *town) check() {
	for _, r := range t.awake() {
		stats := r.life.Node.Stats()
		t.checkView(r, stats.Peers)
		t.checkGhosts(r)
		t.checkBounds(r, stats)
		if r.archive != nil {
			r.archive.checkSessions()
		}
		if r.archive != nil && t.memory > 0 && r.archive.store.Stats().Bytes > t.memory {
			t.fail("the history of %s takes %d bytes, more than %d", r.host.Name, r.archive.store.Stats().Bytes, t.memory)
		}
	}
}

// shows reports whether r shows the presences of another resident.
func (r *resident) shows(other *resident) bool {
	for p, c := range r.of {
		if p.Log() == other.life.Node.ID() {
			return c.shown
		}
	}
	return false
}

// checkView compares what clients have been told with the presences of this
// node and of the peers that are up.
func (t *town) checkView(r *resident, peers []cluster.PeerInfo) {
	there, wrong := 0, false
	compare := func(people map[string]person) {
		there += len(people)
		for ref, one := range people {
			wrong = wrong || r.view[ref] != one
		}
	}
	compare(r.own)
	for p, c := range r.of {
		for _, info := range peers {
			if p.Log() == info.Log && info.Up {
				compare(c.people)
			}
		}
	}
	if wrong || there != len(r.view) {
		t.fail("%s has told its clients of %d presences, want %d", r.host.Name, len(r.view), there)
	}
}

// checkGhosts looks for presences that are still shown and should be gone.
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
				t.fail("%s still shows %s of %s, which was last heard %v ago", r.host.Name, ref, owner.host.Name, silence)
			}
			continue
		}
		left, ok := t.left[ref]
		bound := 3 * time.Second
		// Where little may be held, a snapshot waits in vain for changes during it, and is made again.
		if t.Noise.Drop > 0 || t.Noise.Late > 0 || t.limits.Hold > 0 || t.Now()-t.quiet < lateness+bound {
			bound = 15 * time.Second
		}
		if ok && t.Now()-left > bound && t.Calm(owner.host, r.host) > bound {
			t.fail("%s still shows %s, which %s untracked %v ago", r.host.Name, ref, owner.host.Name, t.Now()-left)
		}
	}
}

// checkBounds checks that what a node keeps is within its limits.
func (t *town) checkBounds(r *resident, s cluster.Stats) {
	l := t.limits
	if sent := s.Kept - s.Waiting; l.Keep > 0 && sent > l.Keep {
		t.fail("%s keeps %d bytes of sent entries, more than %d", r.host.Name, sent, l.Keep)
	}
	for _, p := range s.Peers {
		if l.Hold > 0 && p.Held > l.Hold {
			t.fail("%s holds %d bytes of %s, more than %d", r.host.Name, p.Held, p.Name, l.Hold)
		}
	}
}

// checkConvergence checks that every node shows what is true. It is called when
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
				t.fail("%s shows %s of %s, which does not exist", r.host.Name, ref, t.owners[ref].host.Name)
			}
		}
		r.desk.checkState()
		if n := r.desk.kind.Malformed(); n > 0 {
			t.fail("%s could not read %d entries", r.host.Name, n)
		}
		t.checkTalk(r, all)
	}
}

// checkTalk looks for messages that neither arrived nor were reported lost.
func (t *town) checkTalk(r *resident, all []*resident) {
	for p, h := range r.talk.of {
		for _, speaker := range all {
			if h.last > 0 && speaker.life.Node.ID() == p.Log() && h.last+h.lost < speaker.talk.said {
				t.fail("%s has the messages of %s up to %d of %d, with %d lost", r.host.Name, p.Name(), h.last, speaker.talk.said, h.lost)
			}
		}
	}
}
