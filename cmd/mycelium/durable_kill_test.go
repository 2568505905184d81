//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// durableConfig keeps all that the tests publish.
const durableConfig = "limits: {messages_per_second: 1000000}\nhistory: {disk: 256MiB, rules: [{topics: ['room:*'], messages: 100000, bytes: 1GiB, age: 24h, durable: true}]}\n"

// said is what a test's publisher says.
type said struct {
	P, N int
}

// killed are the publishers and the reader of a test that kills servers.
type killed struct {
	t *testing.T

	mu      sync.Mutex
	next    []int         // of each publisher: what it says next; guarded by mu
	ok      []int         // of each: how many were answered ok; guarded by mu
	refused map[said]bool // guarded by mu: answered with an error, or not at all

	answers [killPublishers]map[int]bool // of each in this round: what was answered

	// Of the reader.
	mark  string // the last position that it was sent
	last  []int  // of each publisher: the last that it was sent
	heard map[said]bool
	again int // messages that came a second time
}

const killPublishers = 3

func newKilled(t *testing.T) *killed {
	k := &killed{t: t, next: make([]int, killPublishers), ok: make([]int, killPublishers), last: make([]int, killPublishers), refused: make(map[said]bool), heard: make(map[said]bool)}
	for p := range k.last {
		k.last[p] = -1
	}
	return k
}

// enter joins a topic; the reply and what precedes it have been read.
func enter(t *testing.T, addr, params string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(addr, atDefault, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	if err := c.WriteText(`["1","1","room:1","phx_join",` + params + `]`); err != nil {
		t.Fatal(err)
	}
	return c
}

// publish has a client publish until its connection breaks. Its own messages must not come
// back.
func (k *killed) publish(p int, addr string, all *sync.WaitGroup) {
	c := enter(k.t, addr, `{"self":false}`)
	first, broken := k.next[p], make(chan struct{})
	room := make(chan struct{}, 32) // as many are outstanding
	all.Go(func() {
		for i := first; ; i++ {
			select {
			case room <- struct{}{}:
			case <-broken:
				return
			}
			k.mu.Lock()
			k.next[p] = i + 1
			k.mu.Unlock()
			if c.WriteText(fmt.Sprintf(`["1","n%d","room:1","say",{"p":%d,"n":%d}]`, i, p, i)) != nil {
				return
			}
		}
	})
	answered := make(map[int]bool)
	k.answers[p] = answered
	all.Go(func() {
		defer close(broken)
		for {
			_, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			text := string(data)
			if strings.Contains(text, fmt.Sprintf(`"say",{"p":%d,`, p)) {
				k.t.Errorf("publisher %d was sent its own message: %s", p, text)
			}
			ref, found := strings.CutPrefix(text, `["1","n`)
			if !found {
				continue
			}
			number, rest, _ := strings.Cut(ref, `"`)
			n, _ := strconv.Atoi(number)
			answered[n] = true
			<-room
			if !strings.Contains(rest, `"status":"ok"`) {
				k.t.Errorf("refused: %s", text)
				return
			}
			k.mu.Lock()
			k.ok[p]++
			k.mu.Unlock()
		}
	})
}

// read comes back with the last position, and reads until the connection breaks or, if
// toMark, until the next position. Order is checked as it reads.
func (k *killed) read(addr string, toMark bool, caughtUp chan<- struct{}) {
	ask := `{"history":{}}`
	if k.mark != "" {
		ask = fmt.Sprintf(`{"history":{"after":%q}}`, k.mark)
	}
	c := enter(k.t, addr, ask)
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		text := string(data)
		if _, state, ok := strings.Cut(text, `"history_state",`); ok && !strings.HasPrefix(state, `{"recovered":true`) {
			k.t.Errorf("after %s: %s", k.mark, text)
		}
		if _, pos, ok := strings.Cut(text, `"history_mark",{"pos":"`); ok {
			k.mark = strings.TrimSuffix(pos, `"}]`)
			if caughtUp != nil {
				close(caughtUp)
				caughtUp = nil
			}
			if toMark {
				c.Drop()
				return
			}
		}
		if _, payload, ok := strings.Cut(text, `"say",`); ok {
			var s said
			if err := json.Unmarshal([]byte(strings.TrimSuffix(payload, "]")), &s); err != nil {
				k.t.Errorf("%s: %v", text, err)
				return
			}
			switch {
			case k.heard[s]:
				k.again++
			case s.N < k.last[s.P]:
				k.t.Errorf("%v came behind %d", s, k.last[s.P])
			default:
				k.heard[s], k.last[s.P] = true, s.N
			}
		}
	}
}

// check reports what was answered ok and is missing.
func (k *killed) check() {
	missing := 0
	for p := range k.next {
		for n := range k.next[p] {
			if s := (said{p, n}); !k.refused[s] && !k.heard[s] {
				if missing++; missing < 10 {
					k.t.Errorf("%v was answered ok and is missing", s)
				}
			}
		}
	}
	if missing > 0 {
		k.t.Fatalf("%d are missing", missing)
	}
}

func killRounds(t *testing.T, few int) int {
	text := os.Getenv(crashRounds)
	if text == "" {
		return few
	}
	rounds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", crashRounds, err)
	}
	return rounds
}

// TestKilledDurable kills a server with SIGKILL again and again while clients publish on a
// durable topic. What was answered ok is there afterwards, in order, and a client
// that comes back with a position from before gets what it missed.
func TestKilledDurable(t *testing.T) {
	t.Parallel()
	config, dir := filepath.Join(t.TempDir(), "mycelium.yaml"), t.TempDir()
	writeFile(t, config, durableConfig)
	k := newKilled(t)
	rounds := killRounds(t, 5)
	for range rounds {
		p := launch(t, dir, "--config="+config)
		p.listening(t)
		k.round(func() { p.kill(t) }, p.addr)
		if t.Failed() {
			t.Fatal(p.log)
		}
	}
	p := launch(t, dir, "--config="+config)
	defer p.kill(t)
	p.listening(t)
	k.read(p.addr, true, nil)
	k.check()
	k.report(rounds)
}

// round publishes and reads until kill ends the servers at these addresses.
func (k *killed) round(kill func(), addrs ...string) {
	var all sync.WaitGroup
	caughtUp := make(chan struct{})
	all.Go(func() { k.read(addrs[0], false, caughtUp) })
	select {
	case <-caughtUp:
	case <-time.After(patience):
		k.t.Error("the reader is sent no position")
	}
	first := slices.Clone(k.next)
	for p := range killPublishers {
		k.publish(p, addrs[p%len(addrs)], &all)
	}
	before := k.answered()
	wait(k.t, "messages are answered", func() bool { return k.answered() > before+10 })
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	kill()
	all.Wait()
	for p, answered := range k.answers {
		for n := first[p]; n < k.next[p]; n++ {
			if !answered[n] {
				k.refused[said{p, n}] = true
			}
		}
	}
}

func (k *killed) answered() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.ok {
		n += one
	}
	return n
}

func (k *killed) report(rounds int) {
	k.t.Logf("%d kills: %d messages answered ok, none missing; %d sent twice to the reader, %d not answered", rounds, k.answered(), k.again, len(k.refused))
}

// awaitHistory waits until all nodes have read what is stored. On a machine that is busy they
// may be ready before: a node does not wait for the others for ever.
func (s *sharing) awaitHistory(t *testing.T) {
	t.Helper()
	for _, n := range s.nodes {
		wait(t, n.name+" has read what is stored", func() bool { return strings.Contains(n.log.String(), "the durable history is open") })
	}
}

// TestKilledDurableCluster is the same with three nodes, of which all are killed at once.
func TestKilledDurableCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes again and again")
	}
	t.Parallel()
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, durableConfig)
	s := startSharing(t, "--config="+config)
	k := newKilled(t)
	rounds := killRounds(t, 2)
	for round := range rounds {
		if round > 0 {
			s.restartAll(t)
		}
		var addrs []string
		s.awaitHistory(t)
		for _, n := range s.nodes {
			addrs = append(addrs, n.addr)
		}
		rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		k.round(func() {
			for _, n := range s.nodes {
				_ = n.process.Process.Kill()
			}
			for _, n := range s.nodes {
				n.kill()
			}
		}, addrs...)
		if t.Failed() {
			return
		}
	}
	s.restartAll(t)
	s.awaitHistory(t)
	k.read(s.nodes[rand.IntN(3)].addr, true, nil)
	k.check()
	k.report(rounds)
}
