package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// peer is a client of one topic over several joins.
type peer struct {
	topic   string
	channel *channel // nil: not joined
	client  *client
	tracked map[string]bool
}

func (p *peer) receive() error {
	if p.channel == nil {
		return nil
	}
	for _, e := range p.channel.take() {
		if err := p.client.handle(e); err != nil {
			return err
		}
	}
	return nil
}

// TestModel has clients join, leave, track, update and untrack at random. Without a window each client that has a state has
// the truth at any time; with one it has it after each flush, and all clients agree at any time.
func TestModel(t *testing.T) {
	run := func(name string, window time.Duration, payload int, fetch bool) {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { runModel(t, window, payload, fetch) }) })
	}
	run("at once", 0, maxPayload, false)
	run("window", time.Hour, maxPayload, false) // an hour is never over in a test: windows end when the model flushes
	run("in parts", 0, 180, false)              // one meta, or two, in each message
	run("in parts and window", time.Hour, 180, false)
	run("fetch", 0, maxPayload, true)
	run("fetch and window", time.Hour, maxPayload, true)
	run("fetch in parts", 0, 220, true)
}

// fetches are the calls of Fetch in a model: one is made when the model draws it, and then answers as the model draws.
type fetches struct {
	tasks  []func() // calls that wait for their turn
	fault  string   // of the next answers
	calls  int
	values map[string]map[string]bool // by key: all that Fetch has ever returned for it, "" for nothing
}

func (f *fetches) fetch(_ context.Context, topic string, presences map[string]Entry) (map[string]any, error) {
	f.calls++
	found := make(map[string]any)
	for key := range presences {
		value := fmt.Sprintf("%s of %s, call %d", key, topic, f.calls)
		switch f.fault {
		case "error", "panic":
			continue
		case "leaves out":
			value = ""
		case "no object":
			found[key] = []int{1}
			continue
		default:
			found[key] = map[string]any{"user": value, "metas": "not Fetch's"}
		}
		if f.values[key] == nil {
			f.values[key] = make(map[string]bool)
		}
		f.values[key][value] = true
	}
	switch f.fault {
	case "error":
		return nil, errors.New("no database")
	case "panic":
		panic("no database")
	}
	return found, nil
}

// hold has the calls of a tracker wait for their turn.
func (f *fetches) hold(t *Tracker) {
	if f != nil {
		t.fetcher.spawn = func(task func()) { f.tasks = append(f.tasks, task) }
		t.fetcher.keys = 2
	}
}

// free lets all calls go, so that Close need not wait for them.
func (f *fetches) free(t *Tracker) {
	if f != nil {
		f.answerAll()
		t.fetcher.spawn = func(task func()) { go task() }
	}
}

func (f *fetches) waits() bool { return f != nil && len(f.tasks) > 0 }

// answer makes the call that waits at i.
func (f *fetches) answer(i int) {
	task := f.tasks[i]
	f.tasks = slices.Delete(f.tasks, i, i+1)
	task()
}

// answerAny makes one of the calls, which may fail.
func (f *fetches) answerAny(t *rapid.T) {
	if f.waits() {
		f.fault = rapid.SampledFrom([]string{"", "", "", "error", "panic", "leaves out", "no object"}).Draw(t, "fault")
		f.answer(rapid.IntRange(0, len(f.tasks)-1).Draw(t, "call"))
	}
}

// answerAll makes all calls, and those that follow from them.
func (f *fetches) answerAll() {
	for f.waits() {
		f.fault = ""
		f.answer(0)
	}
}

// check holds what a client was told about keys against what Fetch has returned: a key for which it always failed has nothing.
func (f *fetches) check(c *client) error {
	for key, user := range c.users {
		if user != "" && (f == nil || !f.values[key][user]) {
			return fmt.Errorf("key %q has user %q, which Fetch never returned", key, user)
		}
	}
	return nil
}

func runModel(t *rapid.T, window time.Duration, payload int, fetch bool) {
	n := newNode()
	o := Options{Window: window}
	var f *fetches
	if fetch {
		f = &fetches{values: make(map[string]map[string]bool)}
		o.Fetch = f.fetch
	}
	tr := New(n, o)
	f.hold(tr)
	tr.maxPayload = payload
	tr.chunkBytes = 100 // of one or two keys
	defer tr.Close()
	defer f.free(tr)
	peers := make([]*peer, 6)
	for i := range peers {
		peers[i] = &peer{topic: fmt.Sprint("room:", i/4), client: &client{state: make(map[string][]meta), parts: payload < maxPayload}, tracked: make(map[string]bool)}
	}
	end := func(p *peer) {
		if p.channel != nil {
			p.channel.end()
			p.channel = nil
			clear(p.tracked)
		}
	}
	join := func(p *peer) {
		end(p)
		p.channel = n.join(p.topic)
		p.client.rejoin()
	}
	drawPeer := func(t *rapid.T) *peer { return peers[rapid.IntRange(0, len(peers)-1).Draw(t, "peer")] }
	drawJoined := func(t *rapid.T) *peer { // no t.Skip: rapid ends a run early when many steps are skipped
		p := drawPeer(t)
		if p.channel == nil {
			join(p)
		}
		return p
	}
	drawKey := rapid.SampledFrom([]string{"ann", "bob", `quo"te`, ""})
	values := 0
	nextMeta := func() json.RawMessage {
		values++
		return json.RawMessage(fmt.Sprintf(`{"n":%d}`, values))
	}
	wantError := func(t *rapid.T, err, want error) {
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	flushed := window == 0
	t.Repeat(map[string]func(*rapid.T){
		"join":  func(t *rapid.T) { join(drawPeer(t)) },
		"end":   func(t *rapid.T) { end(drawPeer(t)) },
		"state": func(t *rapid.T) { wantError(t, tr.PushState(drawJoined(t).channel), nil) },
		"track": func(t *rapid.T) {
			p, key := drawJoined(t), drawKey.Draw(t, "key")
			_, err := tr.Track(p.channel, key, nextMeta())
			if p.tracked[key] {
				wantError(t, err, ErrAlreadyTracked)
			} else {
				wantError(t, err, nil)
			}
			p.tracked[key] = true
		},
		"update": func(t *rapid.T) {
			p, key := drawJoined(t), drawKey.Draw(t, "key")
			_, err := tr.Update(p.channel, key, nextMeta())
			if p.tracked[key] {
				wantError(t, err, nil)
			} else {
				wantError(t, err, ErrNotTracked)
			}
		},
		"untrack": func(t *rapid.T) {
			p, key := drawJoined(t), drawKey.Draw(t, "key")
			tr.Untrack(p.channel, key)
			delete(p.tracked, key)
		},
		"untrack all": func(t *rapid.T) {
			p := drawJoined(t)
			tr.UntrackAll(p.channel)
			clear(p.tracked)
		},
		"flush": func(t *rapid.T) {
			tr.Flush()
			flushed = true
		},
		"answer": func(t *rapid.T) {
			f.answerAny(t)
		},
		"answer all": func(t *rapid.T) {
			f.answerAll()
			tr.Flush()
			f.answerAll()
			flushed = true
		},
		"": func(t *rapid.T) {
			checkModel(t, tr, peers, flushed && !f.waits())
			flushed = window == 0
			for _, p := range peers {
				if err := f.check(p.client); err != nil {
					t.Fatal(err)
				}
			}
		},
	})
	for _, p := range peers {
		end(p)
	}
	tr.Flush()
	f.answerAll()
	if err := leftovers(tr); err != nil {
		t.Fatal(err)
	}
}

func checkModel(t *rapid.T, tr *Tracker, peers []*peer, flushed bool) {
	agreed := make(map[string]map[string][]string)
	present := make(map[string]map[string]int)
	for i, p := range peers {
		if err := p.receive(); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		list := shape(tr.List(p.topic))
		if present[p.topic] == nil {
			present[p.topic] = make(map[string]int)
		}
		for key := range p.tracked {
			present[p.topic][key]++
		}
		if p.channel == nil || !p.client.synced() {
			continue
		}
		state := p.client.shape()
		if flushed && !sameShape(state, list) {
			t.Fatalf("client %d has %v, the list is %v", i, state, list)
		}
		if other := agreed[p.topic]; other != nil && !sameShape(state, other) {
			t.Fatalf("client %d has %v, another has %v", i, state, other)
		}
		agreed[p.topic] = state
	}
	for topic, keys := range present {
		checkTopic(t, tr, topic, keys)
	}
}

// checkTopic holds every way to ask for a topic's presences against the model's count of metas per key.
func checkTopic(t *rapid.T, tr *Tracker, topic string, keys map[string]int) {
	list := tr.List(topic)
	if len(list) != len(keys) || tr.Count(topic) != len(keys) {
		t.Fatalf("%d keys, count %d, want %d", len(list), tr.Count(topic), len(keys))
	}
	for key, n := range keys {
		if len(list[key].Metas) != n || len(tr.Get(topic, key)) != n {
			t.Fatalf("%q has %d metas, Get %d, want %d", key, len(list[key].Metas), len(tr.Get(topic, key)), n)
		}
	}
	c := newClient()
	c.rejoin()
	if err := c.handle(event{EventState, string(tr.AppendList(nil, topic))}); err != nil {
		t.Fatal(err)
	}
	if got := c.shape(); !sameShape(got, shape(list)) {
		t.Fatalf("AppendList has %v, List %v", got, shape(list))
	}
}
