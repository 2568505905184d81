package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// addReaders has the town record messages, and readers follow them.
func (t *town) addReaders() {
	t.rule = history.Rule{Messages: 100, Bytes: 1 << 20, Age: 5 * time.Minute}
	switch t.Rand.IntN(6) {
	case 0:
		t.rule.Messages = 1 + t.Rand.IntN(20)
	case 1:
		t.rule.Bytes = 200 + t.Rand.IntN(2000)
	case 2:
		t.rule.Age = 10*time.Second + t.upTo(30*time.Second)
	case 3:
		t.memory = int64(2000 + t.Rand.IntN(20_000))
	}
	for range 3 {
		t.readers = append(t.readers, t.newReader())
	}
	t.every(200*time.Millisecond, func() bool {
		if awake := t.awake(); len(awake) > 0 {
			t.read(awake[t.Rand.IntN(len(awake))].archive)
		}
		return t.quiet == 0
	})
	t.every(7*time.Second, func() bool {
		for _, r := range t.awake() {
			r.archive.refresh()
		}
		return true
	})
}

// read does something with a node's history.
func (t *town) read(a *archive) {
	one := t.readers[t.Rand.IntN(len(t.readers))]
	switch n := t.Rand.IntN(40); {
	case !a.ready:
	case n == 0 && one.at != nil:
		one.cut()
	case n < 10 && one.at == nil:
		one.join(a)
	case n < 20 && one.at != nil && !one.at.inside:
		one.at.say(one.topic, one.id, 0)
	case n == 21 && a.inside && len(a.lines) > 0:
		a.hurry()
	case n == 20 && !a.inside:
		a.erase(topics[t.Rand.IntN(len(topics))])
	default:
		topic := topics[t.Rand.IntN(len(topics))]
		for range 1 + t.Rand.IntN(5) {
			a.say(topic, 0, t.length())
		}
	}
}

// comeBack has all readers join once more, each at another node, now that nothing happens.
// Each must be told that it has everything, unless too much was recorded to keep it.
func (t *town) comeBack() {
	if len(t.readers) == 0 {
		return
	}
	for _, r := range t.awake() {
		r.archive.refresh()
	}
	t.Run(time.Second, t.failed)
	all := t.awake()
	if t.failed() || len(all) == 0 {
		return
	}
	t.checkRings(all)
	for _, r := range t.readers {
		r.fresh = r.fresh || r.mark == ""
		r.join(all[t.Rand.IntN(len(all))].archive)
	}
	t.Run(behindWait+time.Second, t.failed)
	for _, r := range t.readers {
		if r.fresh || r.catchingUp {
			t.fail("reader %d was not sent what it missed within %v: it was told that it recovered: %t; catching up: %t, on the way: %d", r.id, behindWait+time.Second, r.recovered, r.catchingUp, len(r.way))
		}
	}
}

// ring is what a node has of a topic.
type ring struct {
	messages []history.Message
	has      map[history.ID]bool
}

// checkRings checks that all nodes have the same messages, apart from those that one of
// them admits to have dropped.
func (t *town) checkRings(all []*resident) {
	first := all[0].archive.position()
	rings := make([]map[string]ring, len(all))
	for i, r := range all {
		a := r.archive
		got := a.position()
		if !maps.Equal(got, first) {
			t.fail("the position of %s is %v, that of %s is %v", a.host.Name, got, all[0].host.Name, first)
		}
		if n := a.kind.Malformed(); n > 0 {
			t.fail("%s could not read %d entries of its history", a.host.Name, n)
		}
		a.checkErased(func(id history.ID) bool {
			return slices.ContainsFunc(t.chronicle.of(id).erased, func(by history.ID) bool { return by.Number <= got[by.Log] })
		})
		kept := 0
		rings[i] = map[string]ring{}
		for _, topic := range topics {
			one := ring{messages: a.space.Page(topic, history.Ask{}).Messages, has: map[history.ID]bool{}}
			for i := range one.messages {
				one.has[one.messages[i].ID()] = true
			}
			rings[i][topic] = one
			kept += len(one.messages)
		}
		if s := a.store.Stats(); int(s.Messages) != kept {
			t.fail("the history of %s counts %d messages, and has %d", a.host.Name, s.Messages, kept)
		}
	}
	for i := range all {
		for j := range all {
			t.compareRings(all[i].archive, all[j].archive, rings[i], rings[j])
		}
	}
}

// compareRings checks that b has the messages of a, or says that it has dropped the last one
// of a log that it lacks, and so what was before.
func (t *town) compareRings(a, b *archive, ofA, ofB map[string]ring) {
	for _, topic := range topics {
		lacks := map[history.LogID]*history.Message{}
		for i := range ofA[topic].messages {
			if m := &ofA[topic].messages[i]; !ofB[topic].has[m.ID()] {
				lacks[m.Log] = m
			}
		}
		for _, log := range slices.Sorted(maps.Keys(lacks)) {
			m, before := lacks[log], b.position()
			before[log] = m.Number - 1
			if p := b.space.Page(topic, history.Ask{After: makePosition(b.now(), before), Last: -1}); p.Missing != history.Expired {
				t.fail("%s has message %v of %s, and %s does not have it, but says %q", a.host.Name, m.ID(), topic, b.host.Name, p.Missing)
				return
			}
		}
	}
}
