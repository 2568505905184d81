package bench

import (
	"bytes"
	"encoding/json"
	"time"
)

// holding is the job of connections that do nothing.
type holding struct{ w *worker }

func (holding) due(int64) time.Duration { return forever }
func (holding) left(int)                {}

func (h holding) message(_ int, m *message, size int, _ int64) { countPresence(h.w, m, size) }

const (
	stateEvent = "presence_state"
	diffEvent  = "presence_diff"
)

func isPresence(m *message) bool {
	return string(m.event) == stateEvent || string(m.event) == diffEvent
}

// countPresence counts m if it is a state or a diff of presences.
func countPresence(w *worker, m *message, size int) {
	switch string(m.event) {
	case stateEvent:
		w.states.Add(1)
		w.stateBytes.Add(int64(size))
	case diffEvent:
		w.diffs.Add(1)
		w.diffBytes.Add(int64(size))
	}
}

// watching is the job of connections on a topic with presence. All count what they
// receive. A few in each worker are witnesses, which keep the list of presences.
type watching struct {
	w         *worker
	witnesses map[int]*witness
}

// witnessesEach is the number of witnesses of a worker. Decoding a list of
// thousands costs more than receiving it a hundred times.
const witnessesEach = 4

func newWatching(w *worker) *watching {
	v := &watching{w: w, witnesses: map[int]*witness{}}
	for k := range min(witnessesEach, len(w.conns)) {
		v.witnesses[k*(len(w.conns)-1)/max(witnessesEach-1, 1)] = &witness{}
	}
	return v
}

func (v *watching) is(i int) bool { return v.witnesses[i] != nil }

func (v *watching) due(int64) time.Duration { return forever }
func (v *watching) left(i int)              { delete(v.witnesses, i) }

func (v *watching) message(i int, m *message, size int, at int64) {
	if !isPresence(m) {
		return
	}
	v.w.last.Store(at)
	countPresence(v.w, m, size)
	if w := v.witnesses[i]; w != nil {
		if err := w.applyEvent(string(m.event), m.payload); err != nil {
			v.w.fail("%s cannot be decoded: %v", m.event, err)
		}
	}
}

// judge counts the witnesses that do not see as many presences as there are
// connections on their topic.
func (v *watching) judge() {
	for i, w := range v.witnesses {
		c := &v.w.conns[i]
		if c.state != joined {
			continue
		}
		v.w.witnesses.Add(1)
		switch want := int(v.w.topic[c.topic].receivers.Load()); {
		case !w.knows:
			v.w.mistaken.Add(1)
		case len(w.here) != want:
			v.w.mistaken.Add(1)
			v.w.fail("a connection sees %d presences, want %d", len(w.here), want)
		}
	}
}

// witness follows the presences of a topic as phoenix.js does
// (assets/js/phoenix/presence.js): a diff that arrives before the state waits for
// it.
type witness struct {
	knows   bool
	here    map[string]bool // by phx_ref
	pending []diff
}

type (
	presences map[string]struct {
		Metas []struct {
			Ref string `json:"phx_ref"`
		} `json:"metas"`
	}
	diff struct {
		Joins  presences `json:"joins"`
		Leaves presences `json:"leaves"`
	}
)

// applyEvent applies a message. payload still has the bracket that ends the
// message.
func (w *witness) applyEvent(event string, payload []byte) error {
	payload = bytes.TrimSuffix(bytes.TrimRight(payload, " \t\r\n"), []byte("]"))
	if event == diffEvent {
		var d diff
		if err := json.Unmarshal(payload, &d); err != nil {
			return err
		}
		if !w.knows {
			w.pending = append(w.pending, d)
			return nil
		}
		w.apply(d)
		return nil
	}
	var state presences
	if err := json.Unmarshal(payload, &state); err != nil {
		return err
	}
	w.knows, w.here = true, map[string]bool{}
	w.apply(diff{Joins: state})
	for _, d := range w.pending {
		w.apply(d)
	}
	w.pending = nil
	return nil
}

func (w *witness) apply(d diff) {
	for _, p := range d.Joins {
		for _, m := range p.Metas {
			w.here[m.Ref] = true
		}
	}
	for _, p := range d.Leaves {
		for _, m := range p.Metas {
			delete(w.here, m.Ref)
		}
	}
}
