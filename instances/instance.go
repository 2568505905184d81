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
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/presence"
)

// Instance is one life of an instance, as its logic sees it: from its start to
// its stop or crash. After that its endpoint has no clients, and what is done
// with it fails or does nothing.
type Instance struct {
	// Static after construction.
	owner    *member
	id       string
	labels   map[string]string
	log      zerolog.Logger
	endpoint *channels.Endpoint
	ctx      context.Context
	cancel   context.CancelFunc
	crashed  chan error // has the first crash
	// replicator is nil if its presences are this node's alone.
	replicator presence.Replicator

	logic Logic // static once it is built

	// Guarded by the member's ops, once it is built.
	sockets  channels.SocketOptions
	channels []*channels.Channel

	mu       sync.Mutex
	releases []func() // of Options.Sockets; guarded by mu

	begun      bool          // Start has succeeded; of the goroutine that serves
	hooks      chan struct{} // holds a token while a hook runs: one at a time
	goroutines atomic.Int64  // of Go and of hooks
	endOnce    sync.Once

	presenceOnce sync.Once
	tracker      *presence.Tracker
	tracks       atomic.Bool // there is a tracker
}

// ID is the instance's id.
func (in *Instance) ID() string { return in.id }

// Labels returns a copy of the instance's labels when this life began.
func (in *Instance) Labels() map[string]string { return maps.Clone(in.labels) }

// Log names the instance in all that it writes.
func (in *Instance) Log() *zerolog.Logger { return &in.log }

// line begins a line of the package itself about the instance.
func (in *Instance) line(level zerolog.Level, message string) logging.Line {
	return in.owner.manager.log.Line(level, message).Str("instance", in.id)
}

// Endpoint has the topics and sockets of this instance alone.
func (in *Instance) Endpoint() *channels.Endpoint { return in.endpoint }

// Presence is who is there, in this instance alone.
func (in *Instance) Presence() *presence.Tracker {
	in.presenceOnce.Do(func() { in.track(presence.Options{}) })
	return in.tracker
}

// TrackPresence is Presence with options; it must be called before Presence,
// so in the type's build function. It panics after that.
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
	in.tracks.Store(true)
}

// present is how much Presence tracks, without making one.
func (in *Instance) present() presence.Stats {
	if !in.tracks.Load() {
		return presence.Stats{}
	}
	return in.tracker.Stats()
}

// Broadcast sends an event to all who have joined topic in this instance. It
// fails with channels.ErrOverloaded while more has been broadcast than can be sent.
func (in *Instance) Broadcast(topic, event string, payload any) error {
	return in.endpoint.Broadcast(topic, event, payload)
}

// Context ends when this life of the instance ends: before Stop, and at a crash.
func (in *Instance) Context() context.Context { return in.ctx }

// Go runs f on a goroutine of the instance's own. f must return when ctx ends;
// one that does not is counted as leaked. A panic of f and an error, but for
// ctx's own, is a crash of the instance, which is restarted. name is for logs.
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

// End drains and removes the instance, as Manager.Delete does: a game that is
// over. It returns at once.
func (in *Instance) End(reason string) {
	in.endOnce.Do(func() {
		in.owner.manager.background(func(ctx context.Context) {
			err := in.owner.manager.remove(ctx, in.owner, AnyRevision, reason)
			if err != nil && !errors.Is(err, ErrNotFound) { // else somebody has deleted it
				in.line(zerolog.ErrorLevel, "instance not ended").Err(err).Write()
			}
		})
	})
}

// MaxStateBytes bounds one saved state: a cluster's store takes no more in one
// value (NATS, max_payload).
const MaxStateBytes = 1 << 20

// Save keeps data under a name for the next lives of this instance, until it is
// deleted. When it returns without an error, data survives a crash of the
// machine; savings of many instances share their writes to the disk. name is 1
// to 64 characters of A-Za-z0-9_-, data at most [MaxStateBytes].
func (in *Instance) Save(ctx context.Context, name string, data []byte) error {
	if len(data) > MaxStateBytes {
		return fmt.Errorf("instances: state %q has %d bytes, at most %d are possible", name, len(data), MaxStateBytes)
	}
	key, err := in.stateKey(name)
	if err != nil {
		return err
	}
	_, err = in.owner.manager.store.Put(ctx, key, data, AnyRevision)
	return err
}

// Load returns what was last saved under a name, ErrNoState if nothing was.
func (in *Instance) Load(ctx context.Context, name string) ([]byte, error) {
	key, err := in.stateKey(name)
	if err != nil {
		return nil, err
	}
	e, err := in.owner.manager.store.Get(ctx, key)
	if errors.Is(err, ErrKeyNotFound) {
		return nil, ErrNoState
	}
	return e.Value, err
}

// Forget removes what was saved under a name; that nothing was is no error.
func (in *Instance) Forget(ctx context.Context, name string) error {
	key, err := in.stateKey(name)
	if err != nil {
		return err
	}
	err = in.owner.manager.store.Delete(ctx, key, AnyRevision)
	if errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	return err
}

func (in *Instance) stateKey(name string) (string, error) {
	if !made(name, maxID, idAlphabet) {
		return "", fmt.Errorf("instances: state name %q: want 1 to %d characters of A-Z, a-z, 0-9, _ and -", name, maxID)
	}
	return statePrefix + in.id + "." + name, nil
}

// crash has the instance restarted, or fails it after too many.
func (in *Instance) crash(err error) {
	select {
	case in.crashed <- err:
		in.owner.wake(in)
	default: // it is crashing already
	}
}

// startLogic starts the logic, if it wants that.
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

// ticks is how often the logic wants to be called; 0: never.
func (in *Instance) ticks() (every time.Duration) {
	if t, ok := in.logic.(Ticker); ok {
		in.crashOn(in.guard("TickEvery", func() error { every = t.TickEvery(); return nil }))
	}
	return max(0, every)
}

// run ticks until the life is over: nil when ctx is done, else why it crashed.
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

// signal calls the logic from outside.
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
		if text, err = json.Marshal(result); err != nil { // here, because it runs the type's code
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

// crashOn crashes the instance for a panic; other errors are the caller's.
func (in *Instance) crashOn(err error) {
	var p *PanicError
	if errors.As(err, &p) {
		in.crash(err)
	}
}

// hook runs one of the hooks that run one at a time. One that does not return
// in time is left alone on its goroutine, and keeps the others from running.
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

// endLife closes this life: the sockets go, then the logic is told, then its
// goroutines are waited for, all within ctx. gently is false after a crash.
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
}

// note logs what went wrong while the instance ended: it ends all the same.
func (in *Instance) note(err error) {
	if err != nil {
		in.line(zerolog.WarnLevel, "instance did not end cleanly").Err(err).Write()
	}
}
