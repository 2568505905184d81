package channels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
	"github.com/mycelium-rt/mycelium/presence"
)

// Clients that come and go in every way for a while leave nothing behind.

const churnTopics = 5

// hello wakes a channel that has joined, as in Phoenix's after_join.
type hello struct{}

// lounge is a channel with presence.
func lounge(tracker *presence.Tracker) *channels.Channel {
	ch := channels.Handle("lounge:*", func(c *channels.Context, p text) (channels.NoReply, error) {
		if p.Body == "deny" {
			return channels.NoReply{}, channels.Errorf("denied")
		}
		c.Assign("user", p.Body)
		return channels.NoReply{}, c.Send(hello{})
	})
	channels.Info(ch, func(c *channels.Context, _ hello) error {
		if _, err := tracker.Track(c, c.Get("user").(string), struct{}{}); err != nil {
			return err
		}
		return tracker.PushState(c)
	})
	channels.On(ch, "chat", func(c *channels.Context, m text) (text, error) { return m, c.Broadcast("chat", m) })
	channels.On(ch, "crash", func(*channels.Context, text) (text, error) { panic("as asked") })
	channels.On(ch, "stop", func(c *channels.Context, m text) (text, error) { c.Stop(nil); return m, nil })
	channels.On(ch, "update", func(c *channels.Context, m text) (text, error) {
		_, err := tracker.Update(c, c.Get("user").(string), m)
		return m, err
	})
	return ch
}

func TestChurn(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]time.Duration{"at once": 0, "window": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bothSlow(t, func(t *testing.T, o channels.Options) { testChurn(t, o, window) })
		})
	}
}

func testChurn(t *testing.T, o channels.Options, window time.Duration) {
	s := serve(t, o, channels.SocketOptions{})
	tracker := presence.New(s.Endpoint, presence.Options{Window: window})
	t.Cleanup(tracker.Close)
	s.Socket("/lounge", channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		s.SetID("user:" + r.Params.Get("user"))
		return nil
	}}, lounge(tracker))

	watcher := &watcher{peer: s.dialTarget(t, "/lounge/websocket?vsn=2.0.0", nil), present: make(map[string]map[string]bool)}
	watcher.join("lounge:0", `{"body":"watcher"}`)
	watched := make(chan error, 1)
	go func() { watched <- watcher.watch() }()

	deadline := time.Now().Add(800 * time.Millisecond)
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			g := &guest{t: t, server: s, name: fmt.Sprintf("guest%d", i%9), r: rand.New(rand.NewPCG(uint64(i), 3))}
			for time.Now().Before(deadline) {
				g.live(deadline)
			}
		})
	}
	clients.Wait()
	waitFor(t, "only the watcher to be left", func() bool {
		n := s.Stats()
		return n.Sockets == 1 && n.Channels == 1 && tracker.Count("lounge:0") == 1 && s.Subscribers("lounge:0") == 1
	})
	tracker.Flush()
	if err := s.Broadcast("lounge:0", "end", struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; err != nil {
		t.Errorf("the watcher: %v", err)
	}
	if len(watcher.present) != 1 || len(watcher.present["watcher"]) != 1 {
		t.Errorf("at the end the watcher sees %v", watcher.present)
	}
	watcher.Drop()
	waitFor(t, "nobody to be left", func() bool {
		n := s.Stats()
		left := n.Sockets + n.Channels + n.Network.Connections
		for i := range churnTopics {
			topic := fmt.Sprintf("lounge:%d", i)
			left += int64(tracker.Count(topic) + s.Subscribers(topic))
		}
		return left == 0
	})
}

// guest is a client that acts at random.
type guest struct {
	t      *testing.T
	server *server
	name   string
	r      *rand.Rand
}

// live is one connection, from connect to its end.
func (g *guest) live(deadline time.Time) {
	target := "/lounge/websocket?user=" + g.name
	if g.r.IntN(3) > 0 {
		target += "&vsn=2.0.0"
	}
	c, err := wstest.Dial(g.server.addr, target, nil)
	if err != nil {
		g.t.Errorf("%s: %v", g.name, err)
		return
	}
	defer c.Drop()
	c.Timeout = patience
	p := &peer{Client: c, t: g.t, v1: !strings.Contains(target, "vsn=2")}
	refs := map[string]string{}
	for range 5 + g.r.IntN(30) {
		if time.Now().After(deadline) {
			return
		}
		topic := fmt.Sprintf("lounge:%d", g.r.IntN(churnTopics))
		if err := g.act(p, refs, topic); err != nil {
			return // disconnected, by itself or by another of its name
		}
	}
	if g.r.IntN(2) == 0 {
		c.Close() // politely or not
	}
}

func (g *guest) act(p *peer, refs map[string]string, topic string) (err error) {
	ref, joined := refs[topic]
	what := g.r.IntN(20)
	if !joined || what == 0 { // join, or join again
		body := g.name
		if g.r.IntN(10) == 0 {
			body = "deny"
		}
		ref, reply, err := p.tryJoin(topic, `{"body":"`+body+`"}`)
		if err == nil && reply.status != "ok" && body != "deny" {
			g.t.Errorf("%s: join of %s: %v", g.name, topic, reply)
		}
		delete(refs, topic)
		if reply.status == "ok" {
			refs[topic] = ref
		}
		return err
	}
	switch what {
	case 1:
		delete(refs, topic)
		_, err = p.send(ref, topic, "crash", "{}")
		if err == nil {
			_, err = p.until(func(m envelope) bool { return m.event == "phx_error" && m.ref == ref })
		}
	case 2, 3:
		delete(refs, topic)
		_, err = p.send(ref, topic, []string{"phx_leave", "stop"}[what-2], "{}")
		if err == nil {
			_, err = p.until(func(m envelope) bool { return m.event == "phx_close" && m.ref == ref })
		}
	case 4:
		err = p.Drop()
	case 5:
		if g.r.IntN(4) == 0 {
			err = g.server.Disconnect("user:" + g.name)
		}
	case 6:
		delete(refs, topic)
		_, err = p.send(ref, topic, "phx_leave", "{}") // and does not wait
	case 7:
		_, err = p.send(ref, topic, "update", `{"body":"x"}`)
	default:
		var m envelope
		m, err = p.call(ref, topic, "chat", `{"body":"hi"}`)
		if err == nil && m.status != "ok" {
			g.t.Errorf("%s: chat in %s: %v", g.name, topic, m)
		}
	}
	return err
}

// watcher adds up presence as phoenix.js does (assets/js/phoenix/presence.js)
// and complains of a leave of what is not there and a join of what is.
type watcher struct {
	*peer
	present map[string]map[string]bool // key → phx_refs
}

type entries map[string]struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	} `json:"metas"`
}

func (w *watcher) watch() error {
	var early []envelope // diffs before the state, which contains them
	synced := false
	for {
		m, err := w.read()
		switch {
		case err != nil:
			return err
		case m.event == "end":
			return nil
		case m.event == "presence_state":
			synced = true
			var state entries
			if err := json.Unmarshal(m.payload, &state); err != nil {
				return err
			}
			w.add(state)
		case m.event == "presence_diff" && !synced:
			early = append(early, m)
		case m.event == "presence_diff":
			if err := w.apply(m); err != nil {
				return fmt.Errorf("%w, %d diffs before the state", err, len(early))
			}
		}
	}
}

func (w *watcher) add(joins entries) {
	for key, e := range joins {
		for _, meta := range e.Metas {
			if w.present[key] == nil {
				w.present[key] = make(map[string]bool)
			}
			w.present[key][meta.Ref] = true
		}
	}
}

func (w *watcher) apply(m envelope) error {
	var diff struct{ Joins, Leaves entries }
	if err := json.Unmarshal(m.payload, &diff); err != nil {
		return err
	}
	for key, e := range diff.Joins {
		for _, meta := range e.Metas {
			if w.present[key][meta.Ref] {
				return fmt.Errorf("%s joins twice: %s", key, m.payload)
			}
		}
	}
	w.add(diff.Joins)
	for key, e := range diff.Leaves {
		for _, meta := range e.Metas {
			if !w.present[key][meta.Ref] {
				return fmt.Errorf("%s leaves and is not there: %s", key, m.payload)
			}
			delete(w.present[key], meta.Ref)
		}
		if len(w.present[key]) == 0 {
			delete(w.present, key)
		}
	}
	return nil
}
