package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Durations of FORMAT.md: the silence at the end of a scenario, the pause before a second
// try, and how long to wait for a required message.
const (
	settleTime      = 80 * time.Millisecond
	retryPause      = 300 * time.Millisecond
	defaultPatience = 8 * time.Second
	// finishTime is how long a server has to close a connection we half-closed.
	finishTime = 300 * time.Millisecond
	// asyncPause is the pause after an asynchronous request.
	asyncPause = 60 * time.Millisecond
)

// Options configures how scenarios are run. The zero value is usually right.
type Options struct {
	// Patience is how long to wait for an observation. Default 8 s.
	Patience time.Duration
	// Trace, if not nil, is called with what the clients do and see.
	Trace func(line string)
}

// Failure describes where a server differed from a recording.
type Failure struct {
	Scenario string
	Server   string // of the recording, or the alternative
	Step     int    // from 1; the step of the action if nothing closer is known
	Err      error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s (%s): step %d: %v", f.Scenario, f.Server, f.Step, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// Run plays a scenario against the server at addr ("host:port"). It returns nil if the
// server answers as in one of the recordings, or in one of the alternatives of defects.go.
// Otherwise the error has a [Failure] for each of them.
func Run(ctx context.Context, addr string, s Scenario) error {
	_, err := Judge(ctx, addr, s, Options{})
	return err
}

// Judge is [Run] with options. It also returns the name of the recording or alternative
// with which the server passed.
func Judge(ctx context.Context, addr string, s Scenario, o Options) (string, error) {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	ways := append(append([]Recording{}, s.Recordings...), alternatives(s)...)
	if len(ways) == 0 {
		return "", fmt.Errorf("%s: no recording to compare with", s.Name)
	}
	var failures []error
	for i, way := range ways {
		if i > 0 {
			if err := sleep(ctx, retryPause); err != nil {
				return "", err
			}
		}
		err := playRecording(ctx, addr, s.Name, way, o)
		if err == nil {
			return way.Server, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(failures...)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seen is what the play has seen of a client's connection.
type seen struct{ closed, ended bool }

// play is an attempt to play a recording.
type play struct {
	ctx     context.Context
	addr    string
	options Options
	plan    *plan
	matcher *matcher
	inbox   *inbox

	clients   map[int]*client
	seen      map[int]*seen
	exchanges []*exchange
	async     map[string]*exchange
}

func playRecording(ctx context.Context, addr, name string, rec Recording, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plan := newPlan(name, rec)
	p := &play{ctx: ctx, addr: addr, options: o, plan: plan, matcher: newMatcher(plan), inbox: newInbox(),
		clients: map[int]*client{}, seen: map[int]*seen{}, async: map[string]*exchange{}}
	defer p.close(cancel)
	p.trace("play %s as %s", name, rec.Server)
	for _, b := range plan.blocks {
		if err := p.block(b); err != nil {
			return &Failure{Scenario: name, Server: rec.Server, Step: b.action.Number, Err: err}
		}
	}
	if err := p.settleEnd(); err != nil {
		last := plan.blocks[len(plan.blocks)-1].lastStep
		return &Failure{Scenario: name, Server: rec.Server, Step: last.Number, Err: fmt.Errorf("at the end: %w", err)}
	}
	return nil
}

// close ends all connections and waits for the goroutines of the play.
func (p *play) close(cancel context.CancelFunc) {
	done := make(chan struct{}, len(p.clients))
	for _, c := range p.clients {
		go func() {
			c.closeAndWait(finishTime)
			done <- struct{}{}
		}()
	}
	for range p.clients {
		<-done
	}
	cancel()
	for _, ex := range p.exchanges {
		<-ex.done
	}
}

// block does an action and waits for its observations.
func (p *play) block(b *block) error {
	if b.action.HTTP != nil && p.leaveOut(b) {
		p.trace("skip a poll: its messages have arrived before")
		return nil
	}
	started := time.Now()
	if err := p.act(b.action); err != nil {
		return err
	}
	if b.action.HTTP != nil {
		if err := p.request(b); err != nil {
			return err
		}
	}
	for _, a := range b.answers {
		if a.step.Of == "" {
			continue
		}
		ex := p.async[a.step.Of]
		if ex == nil {
			return fmt.Errorf("no request is named %q", a.step.Of)
		}
		<-ex.done
		if err := p.answer(b, a, ex); err != nil {
			return inStep(a.step, err)
		}
	}
	if err := p.observe(b, started); err != nil {
		return err
	}
	return p.silence(b)
}

// request makes the HTTP request of a block, and checks the answer unless the request is
// asynchronous.
func (p *play) request(b *block) error {
	ex, err := p.start(b.action, p.recordedMs(b.action))
	if err != nil {
		return err
	}
	if b.action.Async != "" {
		p.async[b.action.Async] = ex
		return p.pause(asyncPause)
	}
	<-ex.done
	p.trace("client %d: answer after %v", b.action.Client, ex.elapsed.Round(time.Millisecond))
	for _, a := range b.answers {
		if a.step.Of != "" {
			continue
		}
		if err := p.answer(b, a, ex); err != nil {
			return inStep(a.step, err)
		}
	}
	return nil
}

// recordedMs returns how long the recorded answer to a request took.
func (p *play) recordedMs(request *Step) int {
	for _, b := range p.plan.blocks {
		for _, a := range b.answers {
			if a.request == request && a.step.MsAbout != nil {
				return *a.step.MsAbout
			}
		}
	}
	return 0
}

func inStep(s *Step, err error) error { return fmt.Errorf("answer of step %d: %w", s.Number, err) }

// observe waits until all observations of the block have been made and, for a listen, at
// least as long as it says.
func (p *play) observe(b *block, started time.Time) error {
	active := append(append([]*item{}, b.items...), p.allowances(b.index)...)
	deadline := time.Now().Add(p.options.Patience)
	var listen time.Time
	if b.action.Listen != nil {
		listen = started.Add(time.Duration(*b.action.Listen) * time.Millisecond)
		deadline = listen.Add(p.options.Patience)
	}
	for {
		listening := time.Now().Before(listen)
		if !listening && p.matcher.satisfied(b.items) {
			p.matcher.keepComplete(b.items)
			return nil
		}
		ev, ok := p.inbox.takeEvent(func(client int) bool { return listening || p.matcher.wants(client, b.items) })
		if ok {
			if err := p.see(ev, active, started); err != nil {
				return err
			}
			continue
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing arrived for %v; still missing:\n           %s", p.options.Patience, list(p.matcher.missing(b.items)))
		}
		next := deadline
		if listening {
			next = listen
		}
		if err := p.await(next); err != nil {
			return err
		}
	}
}

// await returns when something arrives, or at the given time.
func (p *play) await(until time.Time) error {
	t := time.NewTimer(time.Until(until) + time.Millisecond)
	defer t.Stop()
	select {
	case <-p.inbox.signal:
	case <-t.C:
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
	return nil
}

// see checks an event.
func (p *play) see(ev event, active []*item, started time.Time) error {
	p.trace("client %d saw %s", ev.client, ev)
	known := p.seen[ev.client]
	if ev.kind == eventViolation {
		return fmt.Errorf("client %d: %w", ev.client, ev.err)
	}
	if ev.kind == eventEnd && known.closed {
		known.ended = true // rule 7: at any time after a close frame
		return nil
	}
	if err := p.matcher.feed(ev, active); err != nil {
		return err
	}
	known.closed = known.closed || ev.kind == eventClosed || ev.kind == eventEnd
	known.ended = known.ended || ev.kind == eventEnd
	if ev.kind == eventClosed {
		return checkCloseTime(ev, active, started)
	}
	return nil
}

// checkCloseTime returns an error for a close that comes too early.
func checkCloseTime(ev event, active []*item, started time.Time) error {
	for _, it := range active {
		if it.kind != itemClosed || it.client != ev.client || it.step.AfterMs == nil {
			continue
		}
		if after := ev.at.Sub(started); tooEarly(after, *it.step.AfterMs) {
			return fmt.Errorf("client %d: closed too early: after %v, recorded about %d ms", ev.client, after.Round(time.Millisecond), *it.step.AfterMs)
		}
	}
	return nil
}

// silence waits for the silence_ms of a block, unless it is a listen, which has waited
// already.
func (p *play) silence(b *block) error {
	if b.silence == nil {
		return nil
	}
	ms := *b.silence.SilenceMs
	if b.action.Listen != nil {
		ms -= *b.action.Listen
	}
	if err := p.quiet(time.Duration(ms)*time.Millisecond, b.index); err != nil {
		return fmt.Errorf("silence of step %d: %w", b.silence.Number, err)
	}
	return nil
}

// quiet returns an error if anything that is not allowed arrives within d.
func (p *play) quiet(d time.Duration, index int) error {
	until := time.Now().Add(d)
	allowed := p.allowances(index)
	for {
		ev, ok := p.inbox.takeEvent(func(int) bool { return true })
		if ok {
			if err := p.see(ev, allowed, time.Now()); err != nil {
				return err
			}
			continue
		}
		if !time.Now().Before(until) {
			return nil
		}
		if err := p.await(until); err != nil {
			return err
		}
	}
}

// settleEnd waits for the silence at the end. After it, the connections that ended in the
// recording must have ended.
func (p *play) settleEnd() error {
	last := len(p.plan.blocks) - 1
	if err := p.quiet(settleTime, last); err != nil {
		return err
	}
	deadline := time.Now().Add(p.options.Patience)
	for client, step := range p.plan.mustEnd {
		for s := p.seen[client]; s != nil && !s.ended; {
			if time.Now().After(deadline) {
				return fmt.Errorf("client %d: the server did not end the connection (step %d)", client, step.Number)
			}
			if err := p.quiet(time.Millisecond, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// allowances returns the allowances of a block and of those before it.
func (p *play) allowances(index int) []*item {
	var list []*item
	for _, it := range p.plan.items {
		if it.kind == itemAllowance && it.block <= index {
			list = append(list, it)
		}
	}
	return list
}

func (p *play) pause(d time.Duration) error { return sleep(p.ctx, d) }

func (p *play) trace(format string, args ...any) {
	if p.options.Trace != nil {
		p.options.Trace(strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	}
}
