package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
)

// The model check of a channel's life: clients run random scripts against a
// server whose scheduler is disturbed, and each compares what it is sent with a
// small model of what it must be sent. See player.check for the model.

var modelSeed = flag.Uint64("model-seed", 0, "run the model check's round of this seed alone")

// modelTime is how long the check runs: MODEL, or a few seconds.
func modelTime(t *testing.T) time.Duration {
	text := os.Getenv("MODEL")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MODEL: %v", err)
	}
	return d
}

// hang bounds how long anything may take. Earlier bugs made clients wait for rejoinWait,
// so the tests that look for them set that to twice as long.
const hang = patience / 2

// TestLifeModel takes 3 s: as many random lives as fit in. It runs alone because
// it changes GOMAXPROCS.
func TestLifeModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	channels.SetRejoinWait(t, 2*hang)
	both(t, func(t *testing.T, o channels.Options) {
		if *modelSeed != 0 {
			modelRound(t, o, *modelSeed)
			return
		}
		rounds := 0
		for begun := time.Now(); time.Since(begun) < modelTime(t)/2 && !t.Failed(); rounds++ {
			modelRound(t, o, rand.Uint64())
		}
		t.Logf("%d rounds", rounds)
	})
}

// modelRound is one server with a few clients.
func modelRound(t *testing.T, o channels.Options, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	runtime.GOMAXPROCS(1 + r.IntN(4))
	onLoop := r.IntN(3) == 0
	o.Loops = 1 + r.IntN(2)
	quiet := zerolog.Nop() // the crashes are meant
	o.Logger = &quiet
	o.Limits.JoinTimeout = -1
	timeouts := !onLoop && r.IntN(8) == 0 // any join may take as long on a loaded machine, so not in all rounds
	if timeouts {
		o.Limits.JoinTimeout = 150 * time.Millisecond
	}
	g := &stage{all: make(map[string]*instance)}
	full, bare := g.channel("full:*", true), g.channel("bare:*", false)
	if onLoop {
		full.OnLoop()
		bare.OnLoop()
	}
	s := newServer(t, o)
	s.Socket("/socket", channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		s.SetID("client:" + r.Params.Get("client"))
		return nil
	}}, full, bare)
	topics := []string{"full:1", "bare:1", "bare:2"}
	var published atomic.Int64
	stop := publish(s, append([]string{extraTopic}, topics...), &published)
	var clients sync.WaitGroup
	var players []*player
	for i := range 4 {
		p := newPlayer(t, s, i, newScript(r, topics, onLoop, timeouts))
		p.onLoop, p.timeouts, p.published = onLoop, timeouts, &published
		players = append(players, p)
		clients.Go(p.play)
	}
	if drains := r.IntN(3) == 0; drains {
		time.Sleep(time.Duration(r.IntN(20_000)) * time.Microsecond)
		for _, p := range players {
			p.drained.Store(true)
		}
		endServer(t, s)
		clients.Wait()
		stop()
	} else {
		clients.Wait()
		stop()
		endServer(t, s)
	}
	faults := g.faults()
	if n := countTopics(s.Endpoint); n > 0 {
		faults = append(faults, fmt.Sprintf("%d topics have subscribers after the shutdown", n))
	}
	report(t, seed, onLoop, players, faults)
}

func endServer(t *testing.T, s *server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// report fails the test with the traces of the clients that found a fault.
func report(t *testing.T, seed uint64, onLoop bool, players []*player, faults []string) {
	for _, p := range players {
		if p.fault != "" {
			faults = append(faults, fmt.Sprintf("client %d: %s\n%s", p.id, p.fault, p.trace()))
		}
	}
	if len(faults) > 0 {
		t.Errorf("round -model-seed %d, on the loop: %v:\n%s", seed, onLoop, strings.Join(faults, "\n"))
	}
	assertNothingLeft(t)
}

// publish broadcasts numbers to the topics until stop is called.
func publish(s *server, topics []string, published *atomic.Int64) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			published.Store(int64(n)) // before it is: who joins meanwhile may miss it
			for _, topic := range topics {
				s.Broadcast(topic, "number", map[string]int{"n": n}) // it fails when the endpoint is shut down
			}
			select {
			case <-quit:
				return
			case <-time.After(time.Duration(rand.IntN(300)) * time.Microsecond):
			}
		}
	}()
	return func() { close(quit); <-done }
}

// player is a client with its script, and the model of what it must be sent.
type player struct {
	*peer
	id        int
	script    []op
	timeouts  bool          // joins may time out
	onLoop    bool          // what a join callback sends comes behind what had been sent to the loop before
	published *atomic.Int64 // the number that is broadcast now
	drained   atomic.Bool   // the server shuts down: the connection may end at any time

	mu      sync.Mutex
	settled *sync.Cond // guarded by mu, as is all below
	sent    int        // operations that were sent
	fate    []fate
	open    map[string]int // the joined instance of a topic
	closing int            // an instance whose phx_close must be the next frame; -1: none
	numbers map[string]stream
	ended   bool // the connection
	fault   string
	log     []string
}

// stream is the broadcasts that an open instance has been sent. Those up to floor may
// have been made before it was joined, so they may come or not.
type stream struct{ floor, last int }

// fate is the outcome of an operation so far.
type fate struct {
	at       time.Time // when it was sent
	replies  int
	response string
	seen     bool // of a shout: its broadcast
	hello    bool // of a join: the push of its callback
	end      string
	lastRef  int // of a join: the last reply to an event of its
}

func newPlayer(t *testing.T, s *server, id int, script []op) *player {
	p := &player{peer: s.dialTarget(t, fmt.Sprintf("/socket/websocket?vsn=2.0.0&client=%d", id), nil), id: id, script: script,
		fate: make([]fate, len(script)), open: make(map[string]int), closing: -1, numbers: make(map[string]stream)}
	p.Timeout = 2 * hang
	p.settled = sync.NewCond(&p.mu)
	return p
}

// play sends the script and checks what comes.
func (p *player) play() {
	defer p.Drop()
	done := make(chan struct{})
	go func() { defer close(done); p.listen() }()
	p.speak()
	p.await()
	for begun := time.Now(); p.script[len(p.script)-1].kind == "disconnect" && !p.isEnded() && time.Since(begun) < 20*time.Millisecond; {
		time.Sleep(time.Millisecond) // a channel that has ended does not disconnect
	}
	p.Drop()
	<-done
}

// speak sends the script.
func (p *player) speak() {
	var batch []string
	flush := func() {
		if len(batch) > 0 {
			p.WriteRaw(frames(batch...)) // listen notices what fails
		}
		batch = nil
	}
	for i := range p.script {
		o := &p.script[i]
		switch {
		case o.pause < 0:
			flush()
			p.await()
		case o.pause > 0:
			flush()
			for begun := time.Now(); time.Since(begun) < o.pause; {
				runtime.Gosched()
			}
		}
		p.mu.Lock()
		if p.ended {
			p.mu.Unlock()
			return
		}
		p.fate[i].at = time.Now()
		p.sent = i + 1
		p.logf("→ %d %s %s join %d", i, o.kind, o.topic, o.join)
		p.mu.Unlock()
		if o.kind == "drop" {
			flush()
			p.Drop()
			return
		}
		batch = append(batch, o.message(p.peer, p.id, i))
	}
	flush()
}

// listen checks what comes until the connection ends.
func (p *player) listen() {
	for {
		m, err := p.read()
		p.mu.Lock()
		if err != nil {
			p.logf("← %v", err)
			p.ended = true
			last := &p.script[max(0, p.sent-1)]
			meant := p.drained.Load() || last.kind == "drop" || last.kind == "disconnect" || p.onLoop && last.exits()
			if p.fault == "" && !meant && p.unsettled() != "" {
				p.fault = fmt.Sprintf("the connection ended with %v", err)
			}
			p.settled.Broadcast()
			p.mu.Unlock()
			return
		}
		p.logf("← %v", m)
		if p.fault == "" {
			if err := p.check(m); err != nil {
				p.fault = err.Error()
			}
		}
		p.settled.Broadcast()
		p.mu.Unlock()
	}
}

// await waits until every operation that was sent has its outcome.
func (p *player) await() {
	timer := time.AfterFunc(hang, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if what := p.unsettled(); what != "" && !p.ended && p.fault == "" {
			p.fault = "after " + hang.String() + " still waiting for " + what
		}
		p.settled.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended && p.fault == "" && p.unsettled() != "" {
		p.settled.Wait()
	}
}

func (p *player) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *player) logf(format string, args ...any) {
	p.log = append(p.log, time.Now().Format("05.000000 ")+fmt.Sprintf(format, args...))
}

// trace returns the last steps of the client.
func (p *player) trace() string {
	return "\t" + strings.Join(p.log[max(0, len(p.log)-200):], "\n\t")
}

// The model. An instance is a join that was answered with ok, until its client
// is told of the end: by phx_close or phx_error, or by the reply of a later join
// of the topic, behind which its phx_close follows at once.

// check checks one frame against the model.
func (p *player) check(m envelope) error {
	if p.closing >= 0 {
		if m.event != "phx_close" || m.joinRef != strconv.Itoa(p.closing) {
			return fmt.Errorf("want the phx_close of join %d behind the reply of the one that replaced it", p.closing)
		}
		p.closing = -1
		return nil
	}
	switch m.event {
	case "phx_reply":
		return p.checkReply(m)
	case "phx_close", "phx_error":
		return p.checkEnd(m)
	}
	return p.checkMessage(m)
}

func (p *player) checkReply(m envelope) error {
	ref, err := strconv.Atoi(m.ref)
	if err != nil || ref >= p.sent {
		return errors.New("a reply to nothing")
	}
	o, f := &p.script[ref], &p.fate[ref]
	if f.replies++; f.replies > 1 {
		return errors.New("a second reply")
	}
	f.response = m.status
	if m.status != "ok" {
		f.response = string(m.response)
	}
	at, open := p.open[o.topic]
	if o.isJoin() {
		return p.checkJoin(ref, at, open)
	}
	switch {
	case o.kind == "phx_leave":
		if m.status != "ok" {
			return errors.New("a leave was refused")
		}
	case m.status == "error" && f.response == `{"reason":"unmatched topic"}`:
		if open && at == o.join {
			return errors.New("the channel is joined")
		}
	case m.status != "ok":
		return errors.New("an event was refused")
	case !open || at != o.join:
		return errors.New("a reply of a channel that is not joined")
	case o.kind == "shout" && !f.seen:
		return errors.New("the reply to a shout came without its broadcast")
	case ref < p.fate[o.join].lastRef:
		return fmt.Errorf("the reply came behind that to %d", p.fate[o.join].lastRef)
	default:
		p.fate[o.join].lastRef = ref
	}
	return nil
}

func (p *player) checkJoin(ref, replaced int, replaces bool) error {
	o, f := &p.script[ref], &p.fate[ref]
	if took := time.Since(f.at); took > hang {
		return fmt.Errorf("the join was answered after %v", took)
	}
	want := joinOutcomes[o.kind]
	if p.timeouts && f.response == joinOutcomes["join_hang"] {
		want = f.response
	}
	if f.response != want {
		return fmt.Errorf("the join was answered %s, want %s", f.response, want)
	}
	if replaces { // else its end was told before
		p.fate[replaced].end = "phx_close"
		p.closing = replaced
		delete(p.open, o.topic)
	}
	if f.response == "ok" {
		p.open[o.topic] = ref
		p.numbers[o.topic] = stream{int(p.published.Load()), -1}
		if o.topic == "full:1" {
			p.numbers[extraTopic] = p.numbers[o.topic]
		}
	}
	return nil
}

func (p *player) checkEnd(m envelope) error {
	ref, err := strconv.Atoi(m.joinRef)
	if at, open := p.open[m.topic]; err != nil || !open || at != ref {
		return errors.New("the end of a channel that is not joined")
	}
	p.fate[ref].end = m.event
	delete(p.open, m.topic)
	if !p.fate[ref].hello {
		return errors.New("the push of the join callback was lost")
	}
	if kinds := p.ends(ref); !kinds[m.event] {
		return fmt.Errorf("want one of %v", kinds)
	}
	return nil
}

// ends returns how the instance of a join may end, given the script: by the first
// operation that ends it, or by a later one if that takes long.
func (p *player) ends(join int) map[string]bool {
	kinds := make(map[string]bool)
	if p.script[join].kind == "join_stop" {
		kinds["phx_close"] = true
		return kinds
	}
	for _, o := range p.script[join+1 : p.sent] {
		if o.join != join || enders[o.kind] == "" {
			continue
		}
		kinds[enders[o.kind]] = true
		if o.kind != "stop_async" {
			break
		}
	}
	return kinds
}

// checkMessage checks broadcasts and pushes.
func (p *player) checkMessage(m envelope) error {
	topic := m.topic
	if topic == extraTopic {
		topic = "full:1" // which forwards it
	}
	at, open := p.open[topic]
	if !open {
		return errors.New("a message of a topic that is not joined")
	}
	f := &p.fate[at]
	switch m.event {
	case "hello":
		if f.hello || m.joinRef != strconv.Itoa(at) {
			return errors.New("the push of another join")
		}
		f.hello = true
		return nil
	case "shouted":
		var s shouted
		if err := json.Unmarshal(m.payload, &s); err != nil {
			return err
		}
		if s.Client == p.id {
			p.fate[s.Ref].seen = true
		}
	case "number":
		var s struct{ N int }
		if err := json.Unmarshal(m.payload, &s); err != nil {
			return err
		}
		h := p.numbers[m.topic]
		if s.N <= h.last || s.N > max(h.floor, h.last)+1 {
			return fmt.Errorf("broadcast %d behind %d, joined at %d", s.N, h.last, h.floor)
		}
		p.numbers[m.topic] = stream{h.floor, s.N}
	}
	if !f.hello && !p.onLoop && m.topic != extraTopic { // forwarded from before its push on
		return errors.New("a broadcast came before the push of the join callback")
	}
	return nil
}

// unsettled returns the first operation without the outcome that it must have, "" if
// there is none.
func (p *player) unsettled() string {
	for i := range p.script[:p.sent] {
		o, f := &p.script[i], &p.fate[i]
		var missing string
		switch {
		case o.kind == "disconnect" || o.kind == "drop" || p.onLoop && o.exits():
		case o.isJoin():
			switch {
			case f.replies == 0:
				missing = "the answer"
			case f.response == "ok" && len(p.ends(i)) > 0 && f.end == "" && p.lastOf(o.topic) == i:
				missing = "the end"
			case f.response == "ok" && !f.hello && f.end == "":
				missing = "the push of its callback"
			}
		case f.replies == 0 && p.lastOf(o.topic) == o.join && p.mustAnswer(i):
			missing = "the reply"
		}
		if missing != "" {
			return fmt.Sprintf("%s of %d %s %s", missing, i, o.kind, o.topic)
		}
	}
	if p.closing >= 0 {
		return "a phx_close"
	}
	return ""
}

// lastOf returns the last join of a topic that was sent. Earlier operations may be ended
// by it without an answer.
func (p *player) lastOf(topic string) (ref int) {
	for i, o := range p.script[:p.sent] {
		if o.topic == topic && o.isJoin() {
			ref = i
		}
	}
	return ref
}

// mustAnswer reports whether an event of the last join must be answered: it must, unless
// an earlier one ends the channel or it crashes the channel itself.
func (p *player) mustAnswer(ref int) bool {
	o := p.script[ref]
	if o.kind == "crash" || o.kind == "exit" {
		return p.fate[o.join].response != "ok" && p.fate[o.join].replies > 0 // unmatched topic
	}
	if p.script[o.join].kind == "join_stop" {
		return false
	}
	for _, before := range p.script[o.join+1 : ref] {
		if before.join == o.join && enders[before.kind] != "" {
			return false
		}
	}
	return true
}
