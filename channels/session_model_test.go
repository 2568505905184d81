package channels_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
)

// The model check of sessions: clients whose only code is to answer pings and to join
// again are cut off at random moments while numbers are broadcast, and must miss
// none.

// TestSessionModel takes 3 s: as many rounds as fit in. It runs alone because it
// changes GOMAXPROCS.
func TestSessionModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	both(t, func(t *testing.T, o channels.Options) {
		if *modelSeed != 0 {
			sessionRound(t, o, *modelSeed)
			return
		}
		var sum tabs
		for begun := time.Now(); time.Since(begun) < modelTime(t)/2 && !t.Failed(); {
			sum.add(sessionRound(t, o, rand.Uint64()))
		}
		t.Logf("%+v", sum)
		if sum.Rounds >= 10 && (sum.Again == 0 || sum.Missed == 0 || sum.HalfOpen == 0 || sum.Torn == 0 || sum.Suspended == 0 || sum.Leaves == 0 || sum.Confirmed == 0) {
			t.Errorf("%+v: something has never happened, so this shows little", sum)
		}
	})
}

// tabs is what a round has seen.
type tabs struct {
	Rounds, Connects, Numbers int
	Missed, Again             int // numbers that a rejoin brought, for the first time or again
	HalfOpen, Torn, Suspended int
	Leaves                    int
	Confirmed                 int
}

func (s *tabs) add(o tabs) {
	s.Rounds += o.Rounds
	s.Connects += o.Connects
	s.Numbers += o.Numbers
	s.Missed += o.Missed
	s.Again += o.Again
	s.HalfOpen += o.HalfOpen
	s.Torn += o.Torn
	s.Suspended += o.Suspended
	s.Leaves += o.Leaves
	s.Confirmed += o.Confirmed
}

// tab is a client with a session and its topics.
type tab struct {
	id        int
	random    *rand.Rand
	published []*atomic.Int64 // by topic
	topics    [2]tabTopic
	refs      map[string]int // topics of joins that are not answered, by ref
	seen      tabs
}

// tabTopic is what a client knows of a topic.
type tabTopic struct {
	joinRef string // "": it has not joined on this connection
	known   bool   // the server knows what it has
	next    int64  // the number that must come at the latest
	fresh   bool   // it has just joined: an earlier number may come first
}

func topicName(i int) string { return fmt.Sprint("room:", i) }

// sessionRound is one server with a few clients.
func sessionRound(t *testing.T, o channels.Options, seed uint64) (sum tabs) {
	r := rand.New(rand.NewPCG(seed, 4))
	runtime.GOMAXPROCS(1 + r.IntN(4))
	o.Loops = 1 + r.IntN(2)
	large := r.IntN(3) == 0
	if large { // replays in pages
		o.Limits = channels.Limits{OutboundBytes: 32 << 10, SendBuffer: 4 << 10}
	}
	ch := relayed()
	if r.IntN(2) == 0 {
		ch.OnLoop()
	}
	s := newServer(t, recorded(t, o, history.Rule{Messages: 1 << 20, Bytes: 1 << 30}))
	s.SetPulse(time.Duration(1+r.IntN(20)) * time.Millisecond)
	s.Socket("/socket", channels.SocketOptions{}, ch)
	published := []*atomic.Int64{new(atomic.Int64), new(atomic.Int64)}
	stop := s.publish(published, large, r.IntN(2) == 0)
	var clients sync.WaitGroup
	var all []*tab
	for i := range 5 {
		c := &tab{id: i, random: rand.New(rand.NewPCG(seed, uint64(5+i))), published: published}
		all = append(all, c)
		clients.Go(func() {
			if err := c.live(t, s, 3+c.random.IntN(6)); err != nil {
				t.Errorf("round -model-seed %d, client %d: %v", seed, c.id, err)
			}
		})
	}
	clients.Wait()
	stop()
	sum.Rounds, sum.Confirmed = 1, int(s.History().Sessions().Stats().Confirmed)
	endServer(t, s)
	assertNothingLeft(t)
	for _, c := range all {
		sum.add(c.seen)
	}
	return sum
}

// publish broadcasts rising numbers on each topic until stop is called.
func (s *server) publish(published []*atomic.Int64, large, slowly bool) (stop func()) {
	padding := ""
	if large {
		padding = strings.Repeat("x", 1000)
	}
	var over atomic.Bool
	var publishers sync.WaitGroup
	for i, n := range published {
		publishers.Go(func() {
			for !over.Load() {
				if s.Broadcast(topicName(i), "number", map[string]any{"n": n.Load(), "x": padding}) == nil {
					n.Add(1)
				}
				if slowly || large || rand.IntN(4) == 0 {
					time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
				}
			}
		})
	}
	return func() { over.Store(true); publishers.Wait() }
}

// live connects and is cut off so many times, in one of several ways, and then catches
// up.
func (c *tab) live(t *testing.T, s *server, times int) error {
	var open []*peer // half-open ones
	defer func() {
		for _, p := range open {
			p.Drop()
		}
	}()
	for i := 0; i < times; i++ {
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0&session="+sessionOf(fmt.Sprint(c.id)), nil)
		c.seen.Connects++
		c.refs = make(map[string]int)
		for i := range c.topics {
			c.topics[i].joinRef = ""
		}
		var err error
		if i == times-1 {
			err = c.finish(p)
		} else {
			err = c.visit(p)
		}
		cut := c.random.IntN(4)
		switch {
		case err != nil && !isEnd(err):
			return err
		case err != nil && i == times-1: // it was too slow
			times++
		case cut == 0: // the server does not notice
			c.seen.HalfOpen++
			open = append(open, p)
			continue
		case cut == 1: // in the middle of a frame, either way
			c.seen.Torn++
			p.WriteRaw([]byte{0x8a, 0x88, 1, 2})
			p.Conn().SetReadDeadline(time.Now().Add(2 * time.Millisecond))
			p.Conn().Read(make([]byte, 1+c.random.IntN(100)))
		}
		if cut == 2 && err == nil {
			c.seen.Suspended++
			c.suspend(p)
		}
		p.Drop()
		time.Sleep(time.Duration(c.random.IntN(20_000)) * time.Microsecond)
	}
	return nil
}

// isEnd reports whether the connection ended, as for clients that are too slow.
func isEnd(err error) bool {
	return err == io.EOF || strings.Contains(err.Error(), "closed") || strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe")
}

// visit joins topics, reads for a while, and leaves the rest.
func (c *tab) visit(p *peer) error {
	for n := c.random.IntN(150); n >= 0; n-- {
		if c.random.IntN(30) == 0 || len(c.refs) == 0 && c.topics[0].joinRef == "" && c.topics[1].joinRef == "" {
			if err := c.move(p); err != nil {
				return err
			}
		}
		if err := c.read(p); err != nil {
			return err
		}
	}
	return nil
}

// suspend loses what comes, but answers pings, as browsers do for a page that they have
// suspended. It does not answer those behind a replay: no page is suspended between
// its join and the replay.
func (c *tab) suspend(p *peer) {
	p.Timeout = 50 * time.Millisecond
	for n := c.random.IntN(100); n >= 0; n-- {
		op, data, err := p.ReadFrame()
		if err == nil && op == ws.OpPing && data[3] == 0 {
			err = p.WriteFrame(ws.OpPong, data)
		}
		if err != nil {
			return
		}
	}
}

// move joins, joins again or leaves.
func (c *tab) move(p *peer) error {
	i := c.random.IntN(2)
	topic := &c.topics[i]
	p.refs++
	ref := fmt.Sprint(p.refs)
	if topic.joinRef != "" && c.random.IntN(3) == 0 {
		c.seen.Leaves++
		err := p.WriteText(p.text(topic.joinRef, ref, topicName(i), "phx_leave", `{}`))
		topic.joinRef, topic.known = "", false
		return err
	}
	c.refs[ref] = i
	return p.WriteText(p.text(ref, ref, topicName(i), "phx_join", `{}`))
}

// finish joins both topics and reads until it has what was published when it came.
func (c *tab) finish(p *peer) error {
	var until [2]int64
	for i := range c.topics {
		until[i] = c.published[i].Load()
		p.refs++
		ref := fmt.Sprint(p.refs)
		c.refs[ref] = i
		if err := p.WriteText(p.text(ref, ref, topicName(i), "phx_join", `{}`)); err != nil {
			return err
		}
	}
	for c.topics[0].next < until[0] || c.topics[1].next < until[1] {
		if err := c.read(p); err != nil {
			return err
		}
	}
	return nil
}

// read handles a frame.
func (c *tab) read(p *peer) error {
	op, data, err := p.ReadFrame()
	switch {
	case err != nil:
		return err
	case op == ws.OpPing:
		err := p.WriteFrame(ws.OpPong, data)
		if err == nil && c.random.IntN(2) == 0 {
			err = p.WriteText(p.text("", "beat", "phoenix", "heartbeat", `{}`))
		}
		return err
	case op != ws.OpText:
		return io.EOF
	}
	m, err := decodeText(data)
	if err != nil {
		return err
	}
	return c.take(m)
}

// take checks a message: numbers come one by one. After a join, they begin at the latest
// with the one behind the last that the client has of a topic that it has not left, and
// otherwise with the one that is published next.
func (c *tab) take(m envelope) error {
	i := 0
	if m.topic == topicName(1) {
		i = 1
	}
	topic := &c.topics[i]
	switch m.event {
	case "phx_reply":
		if _, ok := c.refs[m.ref]; !ok {
			break // of a leave
		}
		delete(c.refs, m.ref)
		topic.joinRef, topic.fresh = m.ref, true
		if !topic.known {
			topic.known, topic.next = true, c.published[i].Load()+1 // one may be on its way
		}
	case "number":
		if topic.joinRef == "" { // before it left, or before the reply of its next join
			break
		}
		var number struct{ N int64 }
		if err := json.Unmarshal(m.payload, &number); err != nil {
			return err
		}
		switch n := number.N; {
		case topic.fresh && n <= topic.next:
			c.seen.Again += int(topic.next - n)
			c.seen.Missed++
		case n != topic.next:
			return fmt.Errorf("%s: %d came instead of %d (%t)", m.topic, n, topic.next, topic.fresh)
		}
		topic.next, topic.fresh = number.N+1, false
		c.seen.Numbers++
	case "phx_close":
	default:
		return fmt.Errorf("received %v", m)
	}
	return nil
}
