package channels_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
)

// The model check of recovery: clients are cut off at random moments while numbers
// are broadcast, and come back with the last mark that they were sent. See
// commuter.take for the model.

// TestHistoryModel takes 3 s: as many rounds as fit in. It runs alone because it
// changes GOMAXPROCS.
func TestHistoryModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	both(t, func(t *testing.T, o channels.Options) {
		if *modelSeed != 0 {
			historyRound(t, o, *modelSeed)
			return
		}
		var sum commuters
		for begun := time.Now(); time.Since(begun) < modelTime(t)/2 && !t.Failed(); {
			sum.add(historyRound(t, o, rand.Uint64()))
		}
		t.Logf("%+v", sum)
		if sum.Rounds >= 10 && (sum.Recovered == 0 || sum.Lost == 0 || sum.Twice == 0 || sum.Pages == 0) {
			t.Errorf("%+v: something has never happened, so this shows little", sum)
		}
	})
}

// commuters is what a round has seen.
type commuters struct {
	Rounds, Joins, Numbers int
	Recovered, Lost, Twice int // rejoins where nothing was missing, or something was; numbers that came twice
	Pages                  int // times that a replay waited for its client
	Leaves, V1s            int
}

func (s *commuters) add(o commuters) {
	s.Rounds++
	s.Joins += o.Joins
	s.Numbers += o.Numbers
	s.Recovered += o.Recovered
	s.Lost += o.Lost
	s.Twice += o.Twice
	s.Pages += o.Pages
	s.Leaves += o.Leaves
	s.V1s += o.V1s
}

// commuter is a client of one topic that is cut off again and again.
type commuter struct {
	id     int
	v1     bool
	topic  string
	random *rand.Rand

	last   int  // the last number that it was sent; -1: none
	marked int  // the last number that the position includes
	hole   bool // the position includes later numbers, which it was not sent
	// marked and hole when the client joined.
	asked     int
	askedHole bool
	pos       string // "": none yet
	joined    bool   // it has been told the state
	free      bool   // the next number may be any later one
	ref       string
	seen      commuters
}

// historyRound is one server with a few clients.
func historyRound(t *testing.T, o channels.Options, seed uint64) (sum commuters) {
	r := rand.New(rand.NewPCG(seed, 2))
	runtime.GOMAXPROCS(1 + r.IntN(4))
	o.Loops = 1 + r.IntN(2)
	rule := history.Rule{Messages: 20 + r.IntN(200), Bytes: 1 << 20}
	large := r.IntN(3) == 0
	if large { // replays in pages
		o.Limits = channels.Limits{OutboundBytes: 32 << 10, SendBuffer: 4 << 10}
		rule.Messages = 500
	}
	ch := relayed()
	if r.IntN(2) == 0 {
		ch.OnLoop()
	}
	s := newServer(t, recorded(t, o, rule))
	s.Socket("/socket", channels.SocketOptions{}, ch)
	topics := []string{"room:1", "room:2"}
	padding := ""
	if large {
		padding = strings.Repeat("x", 1000)
	}
	stop := count(s, topics, padding, r.IntN(2) == 0)
	var clients sync.WaitGroup
	var all []*commuter
	for i := range 5 {
		c := &commuter{id: i, v1: r.IntN(3) == 0, topic: topics[i%2], random: rand.New(rand.NewPCG(seed, uint64(3+i))), last: -1, marked: -1, free: true}
		all = append(all, c)
		clients.Go(func() {
			if err := c.commute(t, s, 3+c.random.IntN(6)); err != nil {
				t.Errorf("round -model-seed %d, client %d on %s: %v", seed, c.id, c.topic, err)
			}
		})
	}
	clients.Wait()
	stop()
	sum.Pages = int(s.Stats().PutOff)
	endServer(t, s)
	assertNothingLeft(t)
	for _, c := range all {
		sum.add(c.seen)
	}
	return sum
}

// count broadcasts rising numbers on each topic until stop is called.
func count(s *server, topics []string, padding string, slowly bool) (stop func()) {
	var over atomic.Bool
	var publishers sync.WaitGroup
	for _, topic := range topics {
		publishers.Go(func() {
			for n := 0; !over.Load(); {
				if s.Broadcast(topic, "number", map[string]any{"n": n, "x": padding}) == nil {
					n++
				}
				if slowly || padding != "" || rand.IntN(4) == 0 {
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				}
			}
		})
	}
	return func() { over.Store(true); publishers.Wait() }
}

// commute connects and is cut off so many times.
func (c *commuter) commute(t *testing.T, s *server, times int) error {
	for range times {
		target := "/socket/websocket?vsn=2.0.0"
		if c.v1 {
			target = "/socket/websocket"
			c.seen.V1s++
		}
		p := s.dialTarget(t, target, nil)
		err := c.ride(p)
		p.Drop()
		if err != nil && !errors.Is(err, io.EOF) { // too slow for what is broadcast
			return err
		}
		time.Sleep(time.Duration(c.random.IntN(20_000)) * time.Microsecond)
	}
	return nil
}

// ride joins once or more, reads some messages, and leaves the rest.
func (c *commuter) ride(p *peer) error {
	for joins := 1 + c.random.IntN(2); joins > 0; joins-- {
		if err := c.join(p); err != nil {
			return err
		}
		for n := c.random.IntN(400); n > 0; n-- {
			m, err := p.read()
			if err != nil {
				return err
			}
			if err := c.take(m); err != nil {
				return err
			}
			if m.event == "history_mark" && c.random.IntN(4) == 0 { // where a mark that promises too much is found
				return nil
			}
		}
	}
	return nil
}

func (c *commuter) join(p *peer) error {
	params := `{"history":{}}`
	c.asked, c.askedHole = c.marked, c.hole || c.pos == ""
	if c.pos != "" {
		params = after(c.pos)
	}
	p.refs++
	c.ref = fmt.Sprint(p.refs)
	if err := p.WriteText(p.text(c.ref, c.ref, c.topic, "phx_join", params)); err != nil {
		return err
	}
	for { // what the old join is still sent
		m, err := p.read()
		if err != nil {
			return err
		}
		if m.event == "phx_reply" && m.ref == c.ref {
			break
		}
		if err := c.take(m); err != nil {
			return err
		}
	}
	c.seen.Joins++
	c.joined = false
	return nil
}

// take checks a message against the model: after the reply comes the state, and
// then the numbers one by one, from behind the position that the client came with,
// or from any later one if it was told that some are missing.
func (c *commuter) take(m envelope) error {
	switch m.event {
	case "history_state":
		var state struct {
			Recovered bool
			Reason    string
		}
		if err := json.Unmarshal(m.payload, &state); err != nil {
			return err
		}
		if !state.Recovered && state.Reason != "expired" {
			return fmt.Errorf("not recovered: %s", m)
		}
		if !c.joined {
			c.joined = true
			c.free = c.askedHole
			c.seen.Twice += max(0, c.last-c.asked)
			c.last = c.asked
		}
		if state.Recovered {
			c.seen.Recovered++
		} else {
			c.free = true
			c.seen.Lost++
		}
	case "number":
		var number struct{ N int }
		if err := json.Unmarshal(m.payload, &number); err != nil {
			return err
		}
		if number.N != c.last+1 && (!c.free || number.N <= c.last) {
			return fmt.Errorf("%d came after %d", number.N, c.last)
		}
		c.last, c.free = number.N, false
		c.seen.Numbers++
	case "history_mark":
		var mark struct{ Pos string }
		if err := json.Unmarshal(m.payload, &mark); err != nil {
			return err
		}
		if !c.joined {
			break // of the join before
		}
		c.pos, c.marked, c.hole = mark.Pos, c.last, c.free
	case "phx_close":
		c.seen.Leaves++
	default:
		return fmt.Errorf("received %v", m)
	}
	return nil
}
