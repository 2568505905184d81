package history_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/history"
)

// reader is a client of one topic that comes and goes.
type reader struct {
	topic string
	pos   history.Position
	has   int // how many of the topic's messages it has or was told are missing
	got   map[int]bool
}

// model is a space and all that was ever recorded in it.
type model struct {
	t       *rapid.T
	clock   *clock
	store   *history.Store
	sp      *history.Space
	all     map[string]int          // how many were recorded on a topic
	ids     map[string][]history.ID // theirs
	erased  map[string]map[int]bool
	readers []*reader
	memory  int64
	dropped bool // a topic may have been forgotten
}

// TestModel: whatever is recorded, dropped and erased, a client that is told that
// nothing is missing has each message once and in order, and one that is told
// otherwise has missed something.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, clock: newClock(), all: make(map[string]int), ids: make(map[string][]history.ID), erased: make(map[string]map[int]bool)}
		m.memory = int64(rapid.SampledFrom([]int{3_000, 1 << 20}).Draw(t, "memory"))
		m.store = history.NewStore(history.Options{Memory: m.memory, Now: m.clock.now})
		defer m.store.Close()
		var err error
		if m.sp, err = m.store.Space("", []history.Rule{m.rule()}); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			m.readers = append(m.readers, &reader{topic: fmt.Sprint("topic ", i%3), got: make(map[int]bool)})
		}
		for _, r := range m.readers {
			r.pos = now(m.sp, r.topic)
		}
		t.Repeat(map[string]func(*rapid.T){
			"record": func(*rapid.T) { m.record() },
			"wait":   func(*rapid.T) { m.clock.advance(time.Duration(rapid.IntRange(0, 40).Draw(t, "s")) * time.Second) },
			"read":   func(*rapid.T) { m.read(rapid.SampledFrom(m.readers).Draw(t, "reader")) },
			"erase":  func(*rapid.T) { m.erase() },
			"rules": func(*rapid.T) {
				m.dropped = true
				if err := m.sp.SetRules([]history.Rule{m.rule()}); err != nil {
					t.Fatal(err)
				}
			},
			"": func(*rapid.T) { m.check() },
		})
	})
}

func (m *model) rule() history.Rule {
	return history.Rule{
		Messages: rapid.IntRange(1, 20).Draw(m.t, "messages"),
		Bytes:    rapid.IntRange(100, 2000).Draw(m.t, "bytes"),
		Age:      time.Duration(rapid.IntRange(10, 100).Draw(m.t, "age")) * time.Second,
	}
}

func (m *model) record() {
	topic := fmt.Sprint("topic ", rapid.IntRange(0, 2).Draw(m.t, "topic"))
	for range rapid.IntRange(1, 5).Draw(m.t, "n") {
		one := record(m.sp, topic, fmt.Sprint(m.all[topic]))
		m.ids[topic] = append(m.ids[topic], one.ID())
		m.all[topic]++
	}
}

func (m *model) erase() {
	topic := fmt.Sprint("topic ", rapid.IntRange(0, 2).Draw(m.t, "topic"))
	if m.all[topic] == 0 {
		return
	}
	which := rapid.IntRange(0, m.all[topic]-1).Draw(m.t, "message")
	if found, _ := m.sp.Erase(topic, m.ids[topic][which]); found {
		if m.erased[topic] == nil {
			m.erased[topic] = make(map[int]bool)
		}
		m.erased[topic][which] = true
	}
}

// read has a client read what it missed, in pages between which more is recorded.
func (m *model) read(r *reader) {
	ask := history.Ask{After: r.pos, PageMessages: rapid.IntRange(0, 4).Draw(m.t, "page")}
	for {
		p := m.sp.Page(r.topic, ask)
		if err := r.take(p, m); err != "" {
			m.t.Fatalf("%s: %s", r.topic, err)
		}
		parsed, err := history.ParsePosition(p.Next.String())
		if err != nil {
			m.t.Fatal(err)
		}
		if r.pos = parsed; !p.More {
			break
		}
		ask.After = r.pos
		if rapid.Bool().Draw(m.t, "more") {
			m.record()
		}
	}
	if r.has != m.all[r.topic] {
		m.t.Fatalf("%s: the client has %d of %d", r.topic, r.has, m.all[r.topic])
	}
}

// take checks a page against what the client has.
func (r *reader) take(p history.Page, m *model) string {
	from := r.has
	if len(p.Messages) > 0 && p.Missing != "" {
		fmt.Sscan(string(p.Messages[0].Payload), &from)
	}
	gap := false
	for n := r.has; n < from; n++ {
		gap = gap || !m.erased[r.topic][n]
	}
	if len(p.Messages) == 0 && p.Missing != "" {
		gap, r.has = r.has < m.all[r.topic], m.all[r.topic]
	} else {
		r.has = from
	}
	if gap && p.Missing == "" || p.Missing != "" && !gap && !m.forgot() {
		return fmt.Sprintf("missing %q, but a gap is %v", p.Missing, gap)
	}
	for _, one := range p.Messages {
		var n int
		fmt.Sscan(string(one.Payload), &n)
		for r.has < n && m.erased[r.topic][r.has] {
			r.has++
		}
		if n != r.has || r.got[n] {
			return fmt.Sprintf("got %d, want %d", n, r.has)
		}
		r.got[n] = true
		r.has++
	}
	for !p.More && m.erased[r.topic][r.has] {
		r.has++
	}
	return ""
}

// forgot reports whether clients may be told of gaps that there are not, because a
// ring was removed.
func (m *model) forgot() bool { return m.dropped || m.memory < 10_000 }

func (m *model) check() {
	st := m.store.Stats()
	if st.Bytes > m.memory {
		m.t.Fatalf("%d bytes are kept", st.Bytes)
	}
}
