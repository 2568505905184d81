package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Options configure [Events].
type Options struct {
	// Dir is the directory in which events wait; "" keeps them in memory.
	Dir string
	// Node is the name of this node in a cluster, "" on a single one.
	Node string
	// Limit bounds the events of an instance that wait, in bytes. Default DefaultLimit,
	// at least minLimit.
	Limit int64
	// Kept is how many bytes of events are kept after all hooks have taken them, for
	// replays and for followers that come back; in memory it is an eighth of that.
	// Default DefaultKept; a negative value keeps none.
	Kept int64
	// MaxAge is the age at which an event that cannot be delivered becomes a dead letter.
	// Default DefaultMaxAge.
	MaxAge time.Duration
	// Hooks returns the hooks of an instance that are sent events; nil: there are none.
	// declared reports whether the server's own configuration declares the instance.
	Hooks func(spec instances.Spec, declared bool) ([]Hook, error)
	// Every returns a further hook, which every instance has; nil: there is none.
	Every func(id string) Hook
	Log   *logging.Log
	// Now is the clock of events; nil: time.Now.
	Now func() time.Time

	snapshotAfter uint64 // smaller in tests; 0: the constant snapshotAfter
}

// Errors of [Events].
var (
	// ErrClosed means that the server is shutting down.
	ErrClosed = errors.New("events: closed")
	// ErrNoHook means that an instance has no hook with a name.
	ErrNoHook = errors.New("events: no such hook")
)

// Linger is how long a stream goes on recording for a follower that has left, in case its
// client comes back.
const Linger = time.Minute

// Events is the streams of all instances of a server.
type Events struct {
	options Options         // static
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*Stream // guarded by mu, by instance
	closed  bool               // guarded by mu
}

// New returns an Events that has no streams yet.
func New(o Options) *Events {
	o.Limit, o.Kept, o.MaxAge = cmp.Or(o.Limit, DefaultLimit), cmp.Or(o.Kept, DefaultKept), cmp.Or(o.MaxAge, DefaultMaxAge)
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Events{options: o, streams: make(map[string]*Stream)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Begin must be called for each life of an instance before it serves clients, and when
// its hooks have changed.
func (e *Events) Begin(in *instances.Instance, spec instances.Spec) error {
	hooks, err := e.hooksOf(spec, in.Declared())
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		closeHooks(hooks)
		return ErrClosed
	}
	before := e.streams[spec.ID]
	s, err := e.streamFor(spec.ID, len(hooks) > 0)
	switch {
	case err != nil:
		closeHooks(hooks)
		return err
	case s == nil:
		return nil
	}
	err = s.setHooks(hooks)
	if before != nil && before != s { // once s has hooks, so that it records what before no longer does
		s.life = before.life
		s.life.Observe(s)
		before.replaced()
	}
	if err != nil {
		return err
	}
	if s.listeners.idle() {
		s.life = in
		return e.endLocked(spec.ID, s)
	}
	s.life = in
	in.Observe(s)
	return nil
}

// streamFor returns the stream of an instance, nil if it has none. If there are hooks, it
// opens one, also in place of a stream that a follower has opened in memory: what a hook is
// sent must survive a crash. mu is held.
func (e *Events) streamFor(id string, hooked bool) (*Stream, error) {
	s := e.streams[id]
	if !hooked || s != nil && s.options.Dir == e.dirOf(id) {
		return s, nil
	}
	return e.openLocked(id, true)
}

// dirOf returns the directory of a stream that survives the process, "" if none does.
func (e *Events) dirOf(id string) string {
	if e.options.Dir == "" {
		return ""
	}
	return filepath.Join(e.options.Dir, id)
}

// openLocked opens the stream of an instance. mu is held.
func (e *Events) openLocked(id string, durable bool) (*Stream, error) {
	dir := ""
	if durable {
		dir = e.dirOf(id)
	}
	s, err := openStream(streamOptions{Instance: id, Node: e.options.Node, Dir: dir, Limit: e.options.Limit, Kept: e.options.Kept, MaxAge: e.options.MaxAge, SnapshotAfter: cmp.Or(e.options.snapshotAfter, snapshotAfter), Log: e.options.Log, Now: e.options.Now})
	if err != nil {
		return nil, fmt.Errorf("events of instance %q: %w", id, err)
	}
	e.streams[id] = s
	return s, nil
}

// endLocked ends a stream to which nobody listens. mu is held.
func (e *Events) endLocked(id string, s *Stream) error {
	if s.life != nil {
		s.life.Observe(nil)
	}
	delete(e.streams, id)
	return s.close()
}

// Follow returns a follower of an instance that runs on this node; in is its present
// life. after is the id of the last event that the follower has; "" means none, and the
// follower then begins with the next event. If after is not an id of this stream, the
// follower begins with the oldest event that is kept.
func (e *Events) Follow(in *instances.Instance, selects Selection, after string) (*Follower, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	id := in.ID()
	s := e.streams[id]
	if s == nil {
		var err error
		if s, err = e.openLocked(id, false); err != nil {
			return nil, err
		}
	}
	f := &Follower{selects: selects, stream: s, ctx: e.ctx}
	from := s.log.Next()
	if after != "" {
		if seq, err := s.number(after); err == nil {
			from = min(seq+1, from)
		} else {
			from = 0 // the id of another stream: everything that is kept
		}
	}
	f.reader = s.log.NewReader(from)
	s.listeners.mu.Lock()
	if s.listeners.followers == nil {
		s.listeners.followers = make(map[*Follower]struct{})
	}
	s.listeners.followers[f] = struct{}{}
	s.listeners.mu.Unlock()
	s.wanted.Store(s.listeners.union())
	s.life = in
	in.Observe(s)
	f.end = sync.OnceFunc(func() { time.AfterFunc(Linger, func() { e.forget(id, s, f) }) })
	return f, nil
}

// forget removes a follower, Linger after it was closed.
func (e *Events) forget(id string, s *Stream, f *Follower) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.listeners.mu.Lock()
	delete(s.listeners.followers, f)
	s.listeners.mu.Unlock()
	s.wanted.Store(s.listeners.union())
	if s.listeners.idle() && e.streams[id] == s {
		e.endLocked(id, s) //nolint:errcheck // there is nothing left to lose
	}
}

// InfoOf returns what is known of an instance: instances.ErrNotFound if it does not
// exist, or another error if that is not known at the moment.
type InfoOf func(id string) (instances.Info, error)

// sweepEvery is how often the events of instances that no longer exist are removed.
const sweepEvery = 30 * time.Second

// Resume sends hooks what the previous process has left in the outboxes, even for
// instances that do not run here, and removes the events of instances that no longer
// exist. It repeats that on a goroutine until Close. It must be called after the
// instances were opened.
func (e *Events) Resume(infoOf InfoOf) {
	e.work.Go(func() {
		for {
			e.report(e.resumeAll(infoOf))
			e.sweep(infoOf)
			if !sleep(e.ctx, sweepEvery) {
				return
			}
		}
	})
}

func (e *Events) report(err error) {
	if err != nil {
		e.options.Log.Error("could not deliver waiting events").Err(err).Write()
	}
}

// resumeAll calls resume for each directory.
func (e *Events) resumeAll(infoOf InfoOf) error {
	if e.options.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(e.options.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		errs = append(errs, e.resume(entry.Name(), infoOf))
	}
	return errors.Join(errs...)
}

// resume opens the stream of an instance that has hooks, unless it is open, and removes
// the directory of an instance that does not exist.
func (e *Events) resume(id string, infoOf InfoOf) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.streams[id] != nil || e.closed {
		return nil
	}
	i, err := infoOf(id)
	switch {
	case errors.Is(err, instances.ErrNotFound):
		e.options.Log.Warn("removed the events of an instance that no longer exists").Str("instance", id).Write()
		return os.RemoveAll(e.dirOf(id))
	case err != nil:
		return nil //nolint:nilerr // the next sweep asks again
	}
	hooks, err := e.hooksOf(i.Spec, i.Declared)
	if err != nil || len(hooks) == 0 {
		return err
	}
	s, err := e.openLocked(id, true)
	if err != nil {
		closeHooks(hooks)
		return err
	}
	return s.setHooks(hooks)
}

// hooksOf returns the hooks of an instance.
func (e *Events) hooksOf(spec instances.Spec, declared bool) ([]Hook, error) {
	var hooks []Hook
	var err error
	if e.options.Hooks != nil {
		hooks, err = e.options.Hooks(spec, declared)
	}
	if e.options.Every != nil && err == nil {
		hooks = append(hooks, e.options.Every(spec.ID))
	}
	return hooks, err
}

// sweep ends the streams of instances that no longer exist, once their hooks have been
// sent everything.
func (e *Events) sweep(infoOf InfoOf) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, s := range e.streams {
		if _, err := infoOf(id); !errors.Is(err, instances.ErrNotFound) || s.listeners.oldest(s.log.Next()) < s.log.Next() {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.endHooks(ctx)
		delete(e.streams, id)
		e.report(errors.Join(s.close(), removeDir(s.options.Dir)))
	}
}

// Close delivers what it can until ctx ends, and closes all streams. What is left in a
// directory is delivered by the next process. The instances must have ended.
func (e *Events) Close(ctx context.Context) error {
	e.cancel()
	e.work.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	var all sync.WaitGroup
	for _, s := range e.streams {
		all.Go(func() { s.endHooks(ctx) })
	}
	all.Wait()
	var errs []error
	for id, s := range e.streams {
		if s.undelivered && s.options.Dir == "" {
			e.options.Log.Warn("events lost: they were only in memory, and not all hooks had taken them").Str("instance", id).Write()
		}
		errs = append(errs, s.close())
	}
	clear(e.streams)
	return errors.Join(errs...)
}

// find returns a hook of an instance.
func (e *Events) find(id, name string) (*hook, error) {
	e.mu.Lock()
	s := e.streams[id]
	e.mu.Unlock()
	if s != nil {
		if h := s.listeners.hook(name); h != nil {
			return h, nil
		}
	}
	return nil, ErrNoHook
}

// Replayed is what [Events.ReplayDead] has done.
type Replayed struct{ Delivered, Refused int }

// ReplayDead sends the dead letters of a hook once more, and returns when that is done.
func (e *Events) ReplayDead(ctx context.Context, id, name string) (Replayed, error) {
	h, err := e.find(id, name)
	if err != nil {
		return Replayed{}, err
	}
	delivered, refused, err := h.ask(ctx, &replay{dead: true})
	return Replayed{delivered, refused}, err
}

// ReplayAfter sends a hook all events again that follow the one with the id event. It
// returns once that has begun. If some of the events are no longer kept, it sends none and
// returns an error with the id after which all are.
func (e *Events) ReplayAfter(ctx context.Context, id, name, event string) error {
	h, err := e.find(id, name)
	if err != nil {
		return err
	}
	seq, err := h.stream.number(event)
	if err == nil && seq >= h.stream.log.Next() {
		err = fmt.Errorf("there is no event %q yet", event)
	}
	if err != nil {
		return err
	}
	_, _, err = h.ask(ctx, &replay{from: seq + 1})
	return err
}

// TestHook sends a hook a test event, and returns how long the answer took.
func (e *Events) TestHook(ctx context.Context, id, name string) (time.Duration, error) {
	h, err := e.find(id, name)
	if err != nil {
		return 0, err
	}
	return h.test(ctx)
}

// DeadLetters returns the dead letters of a hook, the oldest first.
func (e *Events) DeadLetters(id, name string) ([]DeadLetter, error) {
	h, err := e.find(id, name)
	if err != nil {
		return nil, err
	}
	return h.dead.List()
}
