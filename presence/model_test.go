package presence

import (
	"encoding/json"
	"errors"
	"fmt"
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
	t.Run("at once", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { runModel(t, 0, maxPayload) }) })
	// An hour is never over in a test: windows end when the model flushes.
	t.Run("window", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { runModel(t, time.Hour, maxPayload) }) })
	// One meta, or two, in each message.
	t.Run("in parts", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { runModel(t, 0, 180) }) })
	t.Run("in parts and window", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { runModel(t, time.Hour, 180) }) })
}

func runModel(t *rapid.T, window time.Duration, payload int) {
	n := newNode()
	tr := New(n, Options{Window: window})
	tr.maxPayload = payload
	tr.chunkBytes = 100 // of one or two keys
	defer tr.Close()
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
		"": func(t *rapid.T) {
			checkModel(t, tr, peers, flushed)
			flushed = window == 0
		},
	})
	for _, p := range peers {
		end(p)
	}
	tr.Flush()
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
