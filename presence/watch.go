package presence

import (
	"cmp"
	"container/list"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// Change is what has changed in a topic, for [Options.HandleMetas]. An update is a leave of the old meta and a join
// of the new one.
type Change struct {
	Topic         string
	Joins, Leaves map[string]Entry
}

// watch calls HandleMetas with changes, one at a time, on a goroutine that
// exists only while there are any. Further changes of a topic are merged into
// one, so it holds no more than who is present and who HandleMetas was told of.
type watch struct {
	// Static after New.
	handle func(Change)
	report func(topic string, err error)
	ended  func() // called when the goroutine ends

	// Guarded by mu, which is taken last.
	mu      sync.Mutex
	waiting map[string]*list.Element // of queue, by topic
	queue   list.List                // of *gathered, by the first change of each
	running bool
}

// gathered is the merged changes of a topic, by phx_ref.
type gathered struct {
	topic         string
	joins, leaves map[string]namedMeta
	count         int // number of metas, including those that came and went
}

// namedMeta is a meta with its key. place orders the metas of one topic.
type namedMeta struct {
	key, meta string
	place     int
	members   string // what Fetch has added to the key
}

// add merges the changes that commit is about to make known. The stripe is
// locked. It reports whether the caller must start a goroutine with go w.run().
func (w *watch) add(tp *topic, told []changedEntry) (start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.waiting[tp.name]
	if at == nil {
		at = w.queue.PushBack(&gathered{topic: tp.name, joins: make(map[string]namedMeta), leaves: make(map[string]namedMeta)})
		w.waiting[tp.name] = at
	}
	g := at.Value.(*gathered)
	for c := range tp.changesOf(told) {
		e := c.presence.entry
		if c.sent != "" {
			g.leave(namedMeta{key: e.key, meta: c.sent, members: tp.members(e)})
		}
		if meta := c.presence.meta; meta != "" {
			g.join(namedMeta{key: e.key, meta: meta, members: tp.members(e)})
		}
	}
	if len(g.joins)+len(g.leaves) == 0 {
		w.remove(at)
	}
	start = len(w.waiting) > 0 && !w.running
	w.running = w.running || start
	return start
}

func (g *gathered) join(m namedMeta) {
	g.count++
	m.place = g.count
	g.joins[refOf(m.meta)] = m
}

func (g *gathered) leave(m namedMeta) {
	ref := refOf(m.meta)
	if _, untold := g.joins[ref]; untold { // it came and went
		delete(g.joins, ref)
		return
	}
	g.count++
	m.place = g.count
	g.leaves[ref] = m
}

// change returns the argument for HandleMetas.
func (g *gathered) change() Change {
	return Change{Topic: g.topic, Joins: entriesOf(g.joins), Leaves: entriesOf(g.leaves)}
}

// entriesOf groups metas by key, those of a key in the order they came.
func entriesOf(metas map[string]namedMeta) map[string]Entry {
	all := slices.SortedFunc(maps.Values(metas), func(a, b namedMeta) int { return cmp.Compare(a.place, b.place) })
	entries := make(map[string]Entry)
	for _, m := range all {
		e := entries[m.key]
		e.Metas = append(e.Metas, Meta{Ref: refOf(m.meta), PrevRef: prevOf(m.meta), JSON: json.RawMessage(m.meta)})
		e.Fetched = fetchedObject(m.members)
		entries[m.key] = e
	}
	return entries
}

// run calls HandleMetas for all waiting changes.
func (w *watch) run() {
	exited := true
	defer func() {
		if exited { // runtime.Goexit in HandleMetas: another goroutine continues
			go w.run()
			return
		}
		w.ended()
	}()
	for g := w.next(); g != nil; g = w.next() {
		if err := w.call(g.change()); err != nil {
			w.report(g.topic, err)
		}
	}
	exited = false
}

// next removes and returns the change that has waited longest, nil if there is
// none.
func (w *watch) next() *gathered {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.queue.Front(); at != nil {
		return w.remove(at)
	}
	w.running = false
	return nil
}

// remove removes a topic's changes; mu is held.
func (w *watch) remove(at *list.Element) *gathered {
	g := w.queue.Remove(at).(*gathered)
	delete(w.waiting, g.topic)
	return g
}

func (w *watch) call(c Change) (err error) {
	defer callback.Recover("HandleMetas", &err)
	w.handle(c)
	return nil
}
