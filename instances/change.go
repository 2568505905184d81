package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Create makes an instance of a spec and starts it. It is idempotent by id: if
// there is one of the same spec, that is returned and created is false; if
// there is one of another spec, a [*ConflictError]. When it returns an Info,
// the spec is in the store and the first start has succeeded or failed: see its
// State.
func (m *Manager) Create(ctx context.Context, spec Spec) (i Info, created bool, err error) {
	return m.create(ctx, spec, false)
}

// Declare is Create for an instance that the program's own configuration asks
// for at each start: it is not in the store, and nobody can change or delete it.
// To declare it again with another spec changes it as Update does. Declare comes
// before Open.
func (m *Manager) Declare(ctx context.Context, spec Spec) (Info, error) {
	i, created, err := m.create(ctx, spec, true)
	var other *ConflictError
	if created || !errors.As(err, &other) {
		return i, err
	}
	one, err := m.find(spec.ID)
	if err != nil {
		return Info{}, err
	}
	if !one.declared {
		return Info{}, other
	}
	if err := one.lock(ctx); err != nil {
		return Info{}, err
	}
	defer one.unlock()
	return m.update(ctx, one, func(s *Spec) error { *s = spec.clone(); return nil })
}

func (m *Manager) create(ctx context.Context, spec Spec, declared bool) (Info, bool, error) {
	spec = spec.clone()
	kind, err := m.prepare(&spec)
	if err != nil {
		return Info{}, false, err
	}
	one, isNew, err := m.reserve(ctx, spec.ID, declared)
	if err != nil {
		return Info{}, false, err
	}
	if !isNew {
		defer one.unlock()
		i, err := one.same(&spec)
		return i, false, err
	}
	if err := m.found(ctx, one, kind, spec); err != nil {
		m.drop(one)
		one.unlock()
		return Info{}, false, err
	}
	settled := one.settled
	one.unlock()
	m.tell(one, EventCreated, "")
	select {
	case <-settled:
	case <-ctx.Done(): // it is created all the same
	}
	i, _ := one.info()
	return i, true, nil
}

// prepare checks and normalizes a spec.
func (m *Manager) prepare(spec *Spec) (*Type, error) {
	if err := spec.normalize(); err != nil {
		return nil, err
	}
	wrong := spec.check()
	m.mu.RLock()
	kind := m.types[spec.Type]
	m.mu.RUnlock()
	if kind == nil {
		wrong = append(wrong, FieldError{"/type", fmt.Sprintf("%q is none of this server's types: %s", spec.Type, m.typeNames())})
	} else {
		wrong = append(wrong, kind.schema.check(spec.Config)...)
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{Fields: wrong}
	}
	return kind, nil
}

func (m *Manager) typeNames() string {
	names := ""
	for _, t := range m.Types() {
		if names != "" {
			names += ", "
		}
		names += t.name
	}
	return names
}

// reserve returns the member of an id, locked for a change: a new one that
// nobody sees yet, or the one that there is.
func (m *Manager) reserve(ctx context.Context, id string, declared bool) (one *member, isNew bool, err error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, false, ErrClosed
		}
		one = m.members[id]
		if one == nil {
			one = &member{manager: m, id: id, declared: declared, ops: make(chan struct{}, 1), created: m.options.Now().UTC()}
			one.ops <- struct{}{}
			m.members[id] = one
			m.mu.Unlock()
			return one, true, nil
		}
		m.mu.Unlock()
		if err := one.lock(ctx); err != nil {
			return nil, false, err
		}
		if !one.isGone() {
			return one, false, nil
		}
		one.unlock()
	}
}

// found makes a reserved member one that has a spec, in the store and running.
func (m *Manager) found(ctx context.Context, one *member, kind *Type, spec Spec) error {
	life, err := m.build(one, kind, spec)
	if err != nil {
		return err
	}
	revision, err := m.keep(ctx, one, spec, false, 0)
	if err != nil {
		life.discard()
		return err
	}
	one.mu.Lock()
	one.known, one.spec, one.kind, one.revision = true, spec, kind, revision
	one.mu.Unlock()
	one.launch(life)
	return nil
}

// same compares a spec with the member's.
func (m *member) same(spec *Spec) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if fields := m.spec.differs(spec); len(fields) > 0 {
		return Info{}, &ConflictError{ID: m.id, Fields: fields}
	}
	return m.infoLocked(), nil
}

// drop takes a member out of the manager.
func (m *Manager) drop(one *member) {
	counted := make(map[string]*Total)
	one.count(counted)
	m.mu.Lock()
	if m.members[one.id] == one {
		delete(m.members, one.id)
		for name, t := range counted {
			totalOf(m.departed, name).addPast(t)
		}
	}
	m.mu.Unlock()
	one.mu.Lock()
	one.gone, one.known = true, false
	one.mu.Unlock()
}

func (m *member) isGone() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.gone
}

func (m *member) setState(s State, reason string) {
	m.mu.Lock()
	m.state, m.reason = s, reason
	m.mu.Unlock()
}

// build makes a life of a spec: an endpoint of its own, and the logic.
func (m *Manager) build(one *member, kind *Type, spec Spec) (in *Instance, err error) {
	so, release, err := m.sockets(spec)
	if err != nil {
		return nil, err
	}
	log := m.log.With().Str("instance", spec.ID).Logger()
	endpoint, err := channels.NewEndpoint(channels.Options{Host: m.host, Logger: &log, Limits: m.limitsOf(spec)})
	if err != nil {
		release()
		return nil, err
	}
	in = &Instance{
		owner: one, id: spec.ID, labels: spec.Labels, log: log, endpoint: endpoint, releases: []func(){release},
		crashed: make(chan error, 1), hooks: make(chan struct{}, 1),
	}
	in.ctx, in.cancel = context.WithCancel(context.Background())
	err = in.guard("the type's build function", func() (err error) {
		if in.logic, err = kind.build(in, spec.Config); err == nil {
			in.channels = in.logic.Channels()
		}
		return err
	})
	if err != nil {
		in.discard()
		return nil, err
	}
	in.sockets = in.socketOptions(so)
	in.endpoint.Socket("/", in.sockets, in.channels...)
	return in, nil
}

// socketOptions adds to the server's options what the logic has to say.
func (in *Instance) socketOptions(so channels.SocketOptions) channels.SocketOptions {
	if c, ok := in.logic.(Connector); ok {
		first := so.Connect
		_, quick := c.(QuickConnector)
		so.ConnectOnLoop = quick && (first == nil || so.ConnectOnLoop)
		so.ReuseRequest = quick && (first == nil || so.ReuseRequest)
		so.Connect = func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
			if first != nil {
				if err := first(ctx, s, r); err != nil {
					return err
				}
			}
			return c.Connect(ctx, s, r)
		}
	}
	if w, ok := in.logic.(Watcher); ok {
		so.Opened, so.Closed = w.Connected, w.Gone
	}
	return so
}

// discard ends a life that has not begun.
func (in *Instance) discard() {
	in.cancel()
	in.endpoint.Shutdown(context.Background()) //nolint:errcheck // it has no sockets
	in.Presence().Close()
	in.letGo()
}

// holds keeps what is to be released with the life.
func (in *Instance) holds(release func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.releases = append(in.releases, release)
}

// letGo releases what Options.Sockets has made.
func (in *Instance) letGo() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, release := range in.releases {
		release()
	}
	in.releases = nil
}

func (m *Manager) sockets(spec Spec) (so channels.SocketOptions, release func(), err error) {
	if m.options.Sockets == nil {
		if len(spec.Auth) > 0 {
			err = &InvalidError{Fields: []FieldError{{"/auth", errNoAuth.Error()}}}
		}
		return so, func() {}, err
	}
	so, release, err = m.options.Sockets(spec)
	if release == nil {
		release = func() {}
	}
	return so, release, err
}

// Update changes an instance's spec. revision is the one that the caller has
// seen, AnyRevision: whatever it is; another is a [*RevisionError]. change gets
// the present spec and may change all but its ID. A change of labels and of the
// idle time does nothing to clients; other limits hold for who connects from now
// on; a changed configuration does what the type's [Configurer] does. Any other
// change restarts the instance, and its clients connect again. One that has
// failed is started anew. When Update returns, the change is in the store.
func (m *Manager) Update(ctx context.Context, id string, revision uint64, change func(*Spec) error) (Info, error) {
	one, err := m.open(ctx, id, revision)
	if err != nil {
		return Info{}, err
	}
	defer one.unlock()
	return m.update(ctx, one, change)
}

// update carries out Update on a locked member.
func (m *Manager) update(ctx context.Context, one *member, change func(*Spec) error) (Info, error) {
	now, _ := one.info()
	spec := now.clone()
	if err := change(&spec); err != nil {
		return Info{}, err
	}
	if spec.ID != one.id {
		return Info{}, &InvalidError{Fields: []FieldError{{"/id", "cannot be changed: create another instance"}}}
	}
	kind, err := m.prepare(&spec)
	if err != nil {
		return Info{}, err
	}
	fields := now.differs(&spec)
	if len(fields) == 0 && now.State != Failed {
		return now, nil
	}
	if err := m.change(ctx, one, kind, spec, fields); err != nil {
		return Info{}, err
	}
	m.tell(one, EventUpdated, "")
	i, _ := one.info()
	return i, nil
}

// open finds a member and locks it for a change.
func (m *Manager) open(ctx context.Context, id string, revision uint64) (*member, error) {
	one, err := m.find(id)
	if err != nil {
		return nil, err
	}
	if err := one.lock(ctx); err != nil {
		return nil, err
	}
	i, ok := one.info()
	switch {
	case !ok:
		err = ErrNotFound
	case one.declared:
		err = ErrDeclared
	case revision != AnyRevision && revision != i.Revision:
		err = &RevisionError{Want: revision, Have: i.Revision}
	case m.isClosed():
		err = ErrClosed
	}
	if err != nil {
		one.unlock()
		return nil, err
	}
	return one, nil
}

func (m *Manager) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

// change carries out an update of a locked member.
func (m *Manager) change(ctx context.Context, one *member, kind *Type, spec Spec, fields []string) error {
	one.mu.RLock()
	life, state, revision := one.life, one.state, one.revision
	one.mu.RUnlock()
	how := howToChange(state, fields)
	var next *Instance
	var err error
	switch how {
	case byConfigure:
		var taken bool
		taken, err = life.configure(ctx, kind, spec.Config)
		if !taken {
			how = byRestart
			next, err = m.build(one, kind, spec)
		}
	case byRestart, whenStopped:
		next, err = m.build(one, kind, spec) // also to see whether the type takes it
	}
	if err != nil {
		return err
	}
	stopped := state == Stopped
	if revision, err = m.keep(ctx, one, spec, stopped, revision); err != nil {
		if next != nil {
			next.discard()
		}
		if how == byConfigure {
			life.crash(fmt.Errorf("a changed configuration could not be kept: %w", err)) // back to the old one
		}
		return err
	}
	one.mu.Lock()
	one.spec, one.kind, one.revision = spec, kind, revision
	one.mu.Unlock()
	switch how {
	case byRestart:
		one.halt()
		one.launch(next)
	case whenStopped:
		next.discard()
	case byConfigure:
		chs, err := life.rechannel()
		if err != nil {
			return err
		}
		return life.remount(m.limitsOf(spec), life.sockets, chs)
	default:
		if life != nil {
			return life.remount(m.limitsOf(spec), life.sockets, life.channels)
		}
	}
	return nil
}

// howTo is how a change is carried out.
type howTo int

const (
	silently howTo = iota
	byConfigure
	byRestart
	whenStopped
)

func howToChange(s State, fields []string) howTo {
	how := silently
	for _, f := range fields {
		switch f {
		case "labels", "idle_ttl", "limits":
		case "config":
			how = max(how, byConfigure)
		default:
			how = byRestart
		}
	}
	switch {
	case s == Stopped:
		return whenStopped
	case s == Failed, how == byConfigure && s != Running:
		return byRestart
	}
	return how
}

// configure hands a changed configuration to the logic; taken is false if it
// wants to be restarted instead.
func (in *Instance) configure(ctx context.Context, kind *Type, config json.RawMessage) (taken bool, err error) {
	err = in.hook(ctx, "Configure", func() (err error) {
		taken, err = kind.reconfigure(ctx, in.logic, config)
		return err
	})
	in.crashOn(err)
	return taken, err
}

// Delete drains an instance and removes it, with all that its type has saved.
// When it returns, it is gone from the store; its sockets are then closed to
// the pace of the host's Drain, and it is listed as draining until that is
// done.
func (m *Manager) Delete(ctx context.Context, id string, revision uint64) error {
	one, err := m.find(id)
	if err != nil {
		return err
	}
	return m.remove(ctx, one, revision, "deleted")
}

func (m *Manager) remove(ctx context.Context, one *member, revision uint64, reason string) error {
	opened, err := m.open(ctx, one.id, revision)
	if err != nil {
		return err
	}
	if opened != one { // another of the same id
		opened.unlock()
		return ErrNotFound
	}
	if err := m.forget(ctx, one); err != nil {
		one.unlock()
		return err
	}
	one.setState(Draining, reason)
	m.tell(one, EventDraining, reason)
	m.finish(one, func() {
		m.forgetStates(one)
		one.setState(Stopped, reason)
		m.tell(one, EventDeleted, reason)
		m.drop(one)
	})
	return nil
}

// Drain closes an instance's sockets to the pace of the host's Drain and stops
// it. It stays listed, and stopped over a restart of the server, until it is
// resumed or deleted. When Drain returns, that is in the store and it has begun.
func (m *Manager) Drain(ctx context.Context, id string) error {
	one, err := m.open(ctx, id, AnyRevision)
	if err != nil {
		return err
	}
	i, _ := one.info()
	if i.State == Stopped {
		one.unlock()
		return nil
	}
	if err := m.keepStopped(ctx, one, true); err != nil {
		one.unlock()
		return err
	}
	one.setState(Draining, "drained")
	m.tell(one, EventDraining, "drained")
	m.finish(one, func() {
		one.setState(Stopped, "drained")
		m.tell(one, EventStopped, "drained")
	})
	return nil
}

// finish lets a locked member's life end in the background, and then does what
// follows from it.
func (m *Manager) finish(one *member, then func()) {
	running := m.background(func(context.Context) {
		defer one.unlock()
		one.halt()
		then()
	})
	if !running {
		one.unlock() // Close ends it
	}
}

// Resume starts an instance that is stopped or has failed; any other is left
// alone.
func (m *Manager) Resume(ctx context.Context, id string) (Info, error) {
	one, err := m.open(ctx, id, AnyRevision)
	if err != nil {
		return Info{}, err
	}
	defer one.unlock()
	i, _ := one.info()
	if i.State != Stopped && i.State != Failed {
		return i, nil
	}
	if err := m.keepStopped(ctx, one, false); err != nil {
		return Info{}, err
	}
	one.halt() // what is left of a failed one
	one.launch(nil)
	i, _ = one.info()
	return i, nil
}

func (m *Manager) keepStopped(ctx context.Context, one *member, stopped bool) error {
	one.mu.RLock()
	spec, revision := one.spec, one.revision
	one.mu.RUnlock()
	revision, err := m.keep(ctx, one, spec, stopped, revision)
	if err != nil {
		return err
	}
	one.mu.Lock()
	one.revision = revision
	one.mu.Unlock()
	return nil
}

// Await waits until an instance is in one of the states; ErrNotFound when it is
// gone.
func (m *Manager) Await(ctx context.Context, id string, states ...State) (Info, error) {
	for {
		i, err := m.Get(id)
		if err != nil {
			return i, err
		}
		for _, s := range states {
			if i.State == s {
				return i, nil
			}
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
}
