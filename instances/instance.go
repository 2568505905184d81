package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/internal/owners"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/presence"
)

// Instance is one life of an instance, from its start to its stop or crash, as
// its logic sees it. After that its endpoint has no clients, and its methods
// fail or do nothing.
type Instance struct {
	// Static after construction.
	owner    *member
	id       string
	labels   map[string]string
	log      zerolog.Logger
	endpoint *channels.Endpoint
	ctx      context.Context
	cancel   context.CancelFunc
	crashed  chan error         // has the first crash
	urgent   context.Context    // ends when this life must end at once, in a cluster
	hurry    context.CancelFunc // of urgent; nil without a cluster
	hold     *owners.Ownership  // what it saves with in a cluster; nil: it has no single owner
	// replicator is nil if its presences stay on this node.
	replicator presence.Replicator

	logic Logic // static once it is built

	// Guarded by the member's ops after construction.
	sockets  channels.SocketOptions
	channels []*channels.Channel
	spec     *Spec // the one it runs with; nil without a cluster

	mu       sync.Mutex
	releases []func() // of Options.Sockets; guarded by mu
	observer Observer // guarded by mu; nil: nobody observes

	begun      bool          // Start has succeeded; owned by the goroutine that serves
	hooks      chan struct{} // holds a token while a hook runs: one at a time
	goroutines atomic.Int64  // started by Go and by hooks
	endOnce    sync.Once
	over       atomic.Bool // the life has ended, with whatever goroutines are left

	presenceOnce sync.Once
	tracker      *presence.Tracker
	tracks       atomic.Bool // there is a tracker
}

// ID returns the instance's id.
func (in *Instance) ID() string { return in.id }

// Declared reports whether the program has declared the instance, rather than
// somebody created it.
func (in *Instance) Declared() bool { return in.owner.declared }

// Labels returns a copy of the instance's labels when this life began.
func (in *Instance) Labels() map[string]string { return maps.Clone(in.labels) }

// Log returns a logger whose lines name the instance.
func (in *Instance) Log() *zerolog.Logger { return &in.log }

// line begins a log line of this package about the instance.
func (in *Instance) line(level zerolog.Level, message string) logging.Line {
	return in.owner.manager.log.Line(level, message).Str("instance", in.id)
}

// Endpoint returns the endpoint with the topics and sockets of this instance.
func (in *Instance) Endpoint() *channels.Endpoint { return in.endpoint }

// Presence returns the tracker of this instance.
func (in *Instance) Presence() *presence.Tracker {
	in.presenceOnce.Do(func() { in.track(presence.Options{}) })
	return in.tracker
}

// TrackPresence is Presence with options. It must be called before Presence, in
// the type's build function, and panics otherwise.
func (in *Instance) TrackPresence(o presence.Options) *presence.Tracker {
	first := false
	in.presenceOnce.Do(func() { in.track(o); first = true })
	if !first {
		panic("instances: TrackPresence after Presence or a second time")
	}
	return in.tracker
}

func (in *Instance) track(o presence.Options) {
	if in.replicator != nil {
		o.Replicator = in.replicator
	}
	in.tracker = presence.New(in.endpoint, o)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tracks.Store(true)
	if in.observer != nil {
		in.observePresence()
	}
}

// present returns how much the tracker holds, without creating one.
func (in *Instance) present() presence.Stats {
	if !in.tracks.Load() {
		return presence.Stats{}
	}
	return in.tracker.Stats()
}

// Broadcast sends an event to all channels that have joined topic in this
// instance. It returns channels.ErrOverloaded while more has been broadcast
// than can be sent.
func (in *Instance) Broadcast(topic, event string, payload any) error {
	return in.endpoint.Broadcast(topic, event, payload)
}

// Context returns a context that ends with this life of the instance: before
// Stop, and at a crash.
func (in *Instance) Context() context.Context { return in.ctx }

// Go runs f on a goroutine that belongs to the instance. f must return when ctx
// ends; otherwise it is counted as leaked. A panic of f, or an error other than
// ctx's, is a crash of the instance, which is then restarted. name is for logs.
func (in *Instance) Go(name string, f func(ctx context.Context) error) {
	in.goroutines.Add(1)
	go func() {
		defer in.goroutines.Add(-1)
		err := errGoexit(name) // unless f returns
		defer func() {
			if err != nil && in.ctx.Err() == nil {
				in.crash(err)
			}
		}()
		err = in.guard(name, func() error { return f(in.ctx) })
	}()
}

// End drains and removes the instance like Manager.Delete, for example when a
// game is over. It returns at once.
func (in *Instance) End(reason string) {
	in.endOnce.Do(func() {
		in.owner.manager.background(func(ctx context.Context) {
			err := in.owner.manager.remove(ctx, in.owner, AnyRevision, reason)
			if err != nil && !errors.Is(err, ErrNotFound) { // else it has been deleted
				in.line(zerolog.ErrorLevel, "instance not ended").Err(err).Write()
			}
		})
	})
}

// crash has the instance restarted, or fails it after too many.
func (in *Instance) crash(err error) {
	select {
	case in.crashed <- err:
		in.owner.wake(in)
	default: // it is crashing already
	}
}

// startLogic calls the logic's Start, if it has one.
func (in *Instance) startLogic(ctx context.Context) error {
	if s, ok := in.logic.(Starter); ok {
		ctx, cancel := context.WithTimeout(ctx, in.owner.manager.options.StartTimeout)
		defer cancel()
		if err := in.hook(ctx, "Start", func() error { return s.Start(ctx) }); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	in.begun = true
	return nil
}

// ticks returns how often the logic's Tick is called; 0: never.
func (in *Instance) ticks() (every time.Duration) {
	if t, ok := in.logic.(Ticker); ok {
		in.crashOn(in.guard("TickEvery", func() error { every = t.TickEvery(); return nil }))
	}
	return max(0, every)
}

// run calls Tick until the life is over. It returns nil if ctx is done, else
// the reason for the crash.
func (in *Instance) run(ctx context.Context, every time.Duration) error {
	var ticks <-chan time.Time
	t, _ := in.logic.(Ticker)
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-in.crashed:
			return err
		case now := <-ticks:
			if err := in.hook(ctx, "Tick", func() error { return t.Tick(now) }); err != nil && ctx.Err() == nil {
				return fmt.Errorf("tick: %w", err)
			}
		}
	}
}

// signal calls the logic's Signal.
func (in *Instance) signal(ctx context.Context, name string, data json.RawMessage) (json.RawMessage, error) {
	s, ok := in.logic.(Signaler)
	if !ok {
		return nil, ErrNoSignals
	}
	var text json.RawMessage
	err := in.hook(ctx, "Signal", func() error {
		result, err := s.Signal(ctx, name, data)
		if err != nil {
			return err
		}
		if text, err = json.Marshal(result); err != nil { // here, because Marshal runs the type's code
			return fmt.Errorf("instances: the result of signal %q: %w", name, err)
		}
		return nil
	})
	in.crashOn(err)
	if err != nil {
		return nil, err
	}
	return text, nil
}

// crashOn crashes the instance if err is a panic; other errors are left to the
// caller.
func (in *Instance) crashOn(err error) {
	var p *PanicError
	if errors.As(err, &p) {
		in.crash(err)
	}
}

// hook runs a hook; hooks run one at a time. A hook that does not return in
// time is abandoned on its goroutine, and keeps the others from running.
func (in *Instance) hook(ctx context.Context, name string, f func() error) error {
	select {
	case in.hooks <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for another hook: %w", ctx.Err())
	}
	done := make(chan error, 1)
	in.goroutines.Add(1)
	go func() {
		defer in.goroutines.Add(-1)
		defer func() { <-in.hooks }()
		err := errGoexit(name) // unless f returns
		defer func() { done <- err }()
		err = in.guard(name, f)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endLife ends this life: it closes the sockets, then calls Stop, then waits
// for goroutines, all within ctx. gently is false after a crash.
func (in *Instance) endLife(ctx context.Context, gently bool) {
	gently = gently && in.begun
	if d, ok := in.logic.(Drainer); ok && gently {
		err := in.hook(ctx, "Draining", func() error { d.Draining(ctx); return nil })
		in.note(err)
	}
	in.note(in.endpoint.Shutdown(ctx))
	in.cancel()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.owner.manager.options.Grace)
	defer cancel()
	if s, ok := in.logic.(Stopper); ok && gently {
		in.note(in.hook(grace, "Stop", func() error { return s.Stop(grace) }))
	}
	in.Presence().Close()
	in.letGo()
	in.owner.awaitGoroutines(grace, in)
	in.over.Store(true)
}

// note logs an error of ending the instance, which ends all the same.
func (in *Instance) note(err error) {
	if err != nil {
		in.line(zerolog.WarnLevel, "instance did not end cleanly").Err(err).Write()
	}
}
