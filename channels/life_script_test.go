package channels_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// A script is what one client of the model check does: operations on a few
// topics, sent without waiting for their answers.

// op is one operation; its index in the script is its ref.
type op struct {
	kind  string
	topic string
	join  int           // the join that it is meant for, as its client knows; a join's own ref
	pause time.Duration // before it; negative: the client waits until everything is settled
}

// enders maps the operations that end their instance to what the client is told.
var enders = map[string]string{
	"phx_leave": "phx_close", "stop": "phx_close", "stop_async": "phx_close",
	"fail": "phx_error", "crash": "phx_error", "exit": "phx_error",
}

// isJoin reports whether o starts a new instance.
func (o *op) isJoin() bool {
	_, ok := joinOutcomes[o.kind]
	return ok
}

// exits reports whether a callback calls runtime.Goexit: on a loop that ends the
// connection too.
func (o *op) exits() bool { return o.kind == "exit" || o.kind == "join_exit" }

// joinOutcomes are the answers to joins, by kind.
var joinOutcomes = map[string]string{
	"join": "ok", "join_slow": "ok", "join_refuse": `{"reason":"no"}`, "join_crash": `{"reason":"join crashed"}`,
	"join_hang": `{"reason":"join timeout"}`, "join_stop": "ok", "join_exit": `{"reason":"join crashed"}`,
}

var opKinds = []struct {
	kind   string
	weight int
}{
	{"join", 40}, {"join_slow", 8}, {"join_refuse", 4}, {"join_crash", 3}, {"join_hang", 1}, {"join_stop", 3}, {"join_exit", 2},
	{"phx_leave", 20}, {"stop", 8}, {"stop_async", 6}, {"fail", 6}, {"crash", 6}, {"exit", 3},
	{"shout", 24}, {"echo", 16}, {"disconnect", 1}, {"drop", 1},
}

// newScript makes the script of one client of a round.
func newScript(r *rand.Rand, topics []string, onLoop, timeouts bool) (script []op) {
	total := 0
	for _, k := range opKinds {
		total += k.weight
	}
	last := make(map[string]int)
	for n := 10 + r.IntN(50); len(script) < n; {
		o := op{topic: topics[r.IntN(len(topics))], pause: randomPause(r)}
		at := r.IntN(total)
		for _, k := range opKinds {
			if at -= k.weight; at < 0 {
				o.kind = k.kind
				break
			}
		}
		if o.kind == "join_hang" && !timeouts {
			continue
		}
		if o.isJoin() {
			last[o.topic] = len(script)
		}
		var known bool
		if o.join, known = last[o.topic]; !known {
			continue
		}
		script = append(script, o)
		if o.kind == "disconnect" || o.kind == "drop" || onLoop && o.exits() {
			break
		}
	}
	return script
}

func randomPause(r *rand.Rand) time.Duration {
	switch at := r.IntN(100); {
	case at < 45:
		return 0 // in one packet with the one before
	case at < 75:
		return time.Duration(r.IntN(60)) * time.Microsecond
	case at < 90:
		return time.Duration(r.IntN(1000)) * time.Microsecond
	}
	return -1
}

// message is how o is sent.
func (o *op) message(p *peer, client, ref int) string {
	event, payload := o.kind, fmt.Sprintf(`{"ref":%d}`, ref)
	if o.isJoin() {
		event, payload = "phx_join", fmt.Sprintf(`{"client":%d,"ref":%d,"mode":%q}`, client, ref, o.kind)
	}
	return p.text(strconv.Itoa(o.join), strconv.Itoa(ref), o.topic, event, payload)
}

// instance is a joined channel as its callbacks saw it.
type instance struct {
	mu                             sync.Mutex
	client                         int
	joins, terminated, ended, last int // how often the callbacks ran; the last event's ref
	heard                          int // the last number of the further topic
	accepted, inside               bool
	faults                         []string
}

// shouted is the broadcast of the event "shout".
type shouted struct {
	Client int `json:"client"`
	Ref    int `json:"ref"`
}

// extraTopic is a topic that the full channels subscribe to and forward.
const extraTopic = "extra"

// stage is the server's side of a round: it notes what the callbacks see.
type stage struct {
	mu  sync.Mutex
	all map[string]*instance
}

type joinOf struct {
	Client int    `json:"client"`
	Ref    int    `json:"ref"`
	Mode   string `json:"mode"`
}

func (g *stage) instance(key string) *instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.all[key]
	if i == nil {
		i = &instance{last: -1, heard: -1}
		g.all[key] = i
	}
	return i
}

// enter notes that a callback of i runs, and disturbs the scheduler.
func (i *instance) enter(what string) (leave func()) {
	i.mu.Lock()
	if i.inside {
		i.faults = append(i.faults, what+" ran beside another callback")
	}
	if i.terminated > 0 && what != "OnEnd" || i.ended > 0 {
		i.faults = append(i.faults, what+" ran after the end")
	}
	i.inside = true
	i.mu.Unlock()
	disturb()
	return func() {
		disturb()
		i.mu.Lock()
		i.inside = false
		i.mu.Unlock()
	}
}

// disturb lets others run now and then.
func disturb() {
	switch rand.IntN(8) {
	case 0:
		runtime.Gosched()
	case 1:
		time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
	}
}

// channel makes the channel that the scripts are for. Without hooks nothing of
// its life is seen by the application: then it has neither Terminate, OnEnd nor
// assigns.
func (g *stage) channel(pattern string, hooks bool) *channels.Channel {
	var known sync.Map // *channels.Context → *instance
	of := func(c *channels.Context) *instance {
		i, _ := known.Load(c)
		return i.(*instance)
	}
	ch := channels.Handle(pattern, func(c *channels.Context, j joinOf) (channels.NoReply, error) {
		i := g.instance(fmt.Sprintf("%s client %d join %d", c.Topic(), j.Client, j.Ref))
		i.mu.Lock()
		i.joins++
		i.client = j.Client
		i.mu.Unlock()
		known.Store(c, i)
		defer i.enter("join")()
		if hooks {
			for _, subscribe := range []func(string) error{c.Subscribe, c.Forward} {
				if err := subscribe(extraTopic); err != nil && !errors.Is(err, channels.ErrEnded) {
					return channels.NoReply{}, err
				}
			}
			c.OnEnd(func() {
				defer i.enter("OnEnd")()
				i.mu.Lock()
				i.ended++
				i.mu.Unlock()
			})
		}
		return channels.NoReply{}, g.join(c, i, j.Mode)
	})
	event := func(name string, f func(c *channels.Context, i *instance) error) {
		channels.On(ch, name, func(c *channels.Context, m struct{ Ref int }) (struct{}, error) {
			i := of(c)
			defer i.enter(name)()
			i.mu.Lock()
			if m.Ref <= i.last {
				i.faults = append(i.faults, fmt.Sprintf("%s %d ran behind %d", name, m.Ref, i.last))
			}
			i.last = m.Ref
			i.mu.Unlock()
			return struct{}{}, f(c, i)
		})
	}
	event("echo", func(*channels.Context, *instance) error { return nil })
	event("shout", func(c *channels.Context, i *instance) error {
		err := c.Broadcast("shouted", shouted{i.client, i.last})
		if errors.Is(err, channels.ErrEnded) {
			return nil
		}
		return err
	})
	event("stop", func(c *channels.Context, _ *instance) error { c.Stop(nil); return nil })
	event("stop_async", func(c *channels.Context, _ *instance) error {
		go func() { disturb(); c.Stop(nil) }()
		return nil
	})
	event("fail", func(c *channels.Context, _ *instance) error { c.Stop(errors.New("failed")); return nil })
	event("crash", func(*channels.Context, *instance) error { panic("crash") })
	event("exit", func(*channels.Context, *instance) error { runtime.Goexit(); return nil })
	event("disconnect", func(c *channels.Context, _ *instance) error { return c.Endpoint().Disconnect(c.Socket().ID()) })
	channels.Info(ch, func(c *channels.Context, b channels.Broadcast) error {
		i := of(c)
		defer i.enter("Broadcast")()
		var s struct{ N int }
		if err := json.Unmarshal(b.Payload.Data, &s); err != nil {
			return err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if b.Topic != extraTopic || s.N <= i.heard || i.heard >= 0 && s.N != i.heard+1 {
			i.faults = append(i.faults, fmt.Sprintf("broadcast %d of %s behind %d", s.N, b.Topic, i.heard))
		}
		i.heard = s.N
		return nil
	})
	if hooks {
		ch.Terminate(func(c *channels.Context, _ error) {
			i := of(c)
			defer i.enter("Terminate")()
			defer func() { i.mu.Lock(); i.terminated++; i.mu.Unlock() }()
			if rand.IntN(20) == 0 {
				panic("in Terminate")
			}
		})
	}
	return ch
}

func (g *stage) join(c *channels.Context, i *instance, mode string) error {
	if err := c.Push("hello", struct{}{}); err != nil && !errors.Is(err, channels.ErrEnded) {
		return err
	}
	switch mode {
	case "join_slow":
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	case "join_refuse":
		return channels.Errorf("no")
	case "join_crash":
		panic("crash in join")
	case "join_exit":
		runtime.Goexit()
	case "join_hang":
		<-c.Done()
	case "join_stop":
		c.Stop(nil)
	}
	i.mu.Lock()
	i.accepted = true
	i.mu.Unlock()
	return nil
}

// faults returns what the callbacks saw that must not happen. It is called after the
// shutdown.
func (g *stage) faults() (faults []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, i := range g.all {
		i.mu.Lock()
		for _, f := range i.faults {
			faults = append(faults, key+": "+f)
		}
		terminated := 0
		if i.accepted {
			terminated = 1
		}
		if strings.HasPrefix(key, "full:") && (i.joins != 1 || i.terminated != terminated || i.ended != 1) {
			faults = append(faults, fmt.Sprintf("%s: join ran %d times, accepted %v, Terminate %d, OnEnd %d",
				key, i.joins, i.accepted, i.terminated, i.ended))
		}
		i.mu.Unlock()
	}
	return faults
}
