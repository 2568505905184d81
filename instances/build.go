package instances

import (
	"context"
	"runtime/debug"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// build creates a life from a spec: its endpoint and its logic.
func (m *Manager) build(one *member, kind *Type, spec Spec) (in *Instance, err error) {
	so, release, err := m.sockets(spec)
	if err != nil {
		return nil, err
	}
	log := m.logger.With().Str("instance", spec.ID).Logger()
	endpoint, err := channels.NewEndpoint(channels.Options{Host: m.host, Logger: &log, Limits: m.limitsOf(spec), Bus: m.busOf(one, kind), History: m.historyOf(one, kind)})
	if err != nil {
		release()
		return nil, err
	}
	in = &Instance{
		owner: one, id: spec.ID, labels: spec.Labels, log: log, endpoint: endpoint, releases: []func(){release},
		crashed: make(chan error, 1), hooks: make(chan struct{}, 1), urgent: context.Background(),
	}
	if m.nodes != nil {
		m.nodes.prepare(in, kind, spec)
	}
	if m.options.Replicator != nil && one.spreads(kind) {
		in.replicator = m.options.Replicator(one.id)
	}
	in.ctx, in.cancel = context.WithCancel(context.Background())
	err = in.guard("the type's build function", func() (err error) {
		if in.logic, err = kind.build(in, spec.Config); err == nil {
			in.channels = in.logic.Channels()
		}
		return err
	})
	if err == nil {
		in.sockets, err = in.socketOptions(so, spec)
	}
	if err != nil {
		in.discard()
		return nil, err
	}
	in.endpoint.Socket("/", in.sockets, in.channels...)
	return in, nil
}

// tryBuild checks whether a type accepts a spec of a member: it makes a life and
// discards it.
func (m *Manager) tryBuild(one *member, kind *Type, spec Spec) error {
	life, err := m.build(&member{manager: m, id: spec.ID, declared: one.declared, trial: true}, kind, spec)
	if err != nil {
		return err
	}
	life.discard()
	return nil
}

// busOf returns the bus of an instance, nil if it lives on this node alone.
func (m *Manager) busOf(one *member, kind *Type) pubsub.Bus {
	if m.options.Bus == nil || !one.spreads(kind) {
		return nil
	}
	return m.options.Bus(one.id)
}

// spreads reports whether an instance of kind runs on all nodes: they share its
// record, or all of them declare it.
func (m *member) spreads(kind *Type) bool {
	return kind != nil && kind.spread && !m.trial && (m.declared || m.manager.nodes != nil)
}

func (m *Manager) sockets(spec Spec) (so channels.SocketOptions, release func(), err error) {
	if m.options.Sockets == nil {
		if len(spec.Auth) > 0 {
			err = fielderr.New("/auth", "%v", errNoAuth)
		}
		return so, func() {}, err
	}
	so, release, err = m.askSockets(spec)
	if release == nil {
		release = func() {}
	}
	return so, release, err
}

func (m *Manager) askSockets(spec Spec) (so channels.SocketOptions, release func(), err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Hook: "Options.Sockets", Value: v, Stack: debug.Stack()}
		}
	}()
	return m.options.Sockets(spec)
}

// remadeSockets returns the options of a life's socket for a spec of which fields have
// changed.
func (m *Manager) remadeSockets(life *Instance, spec Spec, fields []string) (channels.SocketOptions, error) {
	if !slices.Contains(fields, "hooks") {
		return life.sockets, nil
	}
	return m.newSockets(life, spec)
}

// newSockets returns new options for the socket of a life. Connected clients keep the
// old ones.
func (m *Manager) newSockets(life *Instance, spec Spec) (channels.SocketOptions, error) {
	so, release, err := m.sockets(spec)
	if err != nil {
		return so, err
	}
	life.holds(release)
	return life.socketOptions(so, spec)
}

// socketOptions adds the logic's hooks to the server's options, and then what
// Options.Wrap does. It fails if Mount panics.
func (in *Instance) socketOptions(so channels.SocketOptions, spec Spec) (channels.SocketOptions, error) {
	if m, ok := in.logic.(Mounter); ok {
		if err := in.guard("Mount", func() error { so = m.Mount(so); return nil }); err != nil {
			return so, err
		}
	}
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
	so, err := in.wrap(so, spec)
	if began := in.owner.manager.options.Began; err == nil && began != nil && !in.owner.trial {
		err = in.guard("Options.Began", func() error { return began(in, spec) })
	}
	return so, err
}

// wrap calls Options.Wrap.
func (in *Instance) wrap(so channels.SocketOptions, spec Spec) (channels.SocketOptions, error) {
	wrap := in.owner.manager.options.Wrap
	if wrap == nil {
		if len(spec.Hooks) > 0 {
			return so, fielderr.New("/hooks", "%v", errNoHooks)
		}
		return so, nil
	}
	release := func() {}
	err := in.guard("Options.Wrap", func() (err error) {
		var r func()
		if so, r, err = wrap(in, spec, so); err == nil && r != nil {
			release = r
		}
		return err
	})
	if err == nil {
		in.holds(release)
	}
	return so, err
}

// discard ends a life that has not started.
func (in *Instance) discard() {
	in.over.Store(true)
	in.cancel()
	in.endpoint.Shutdown(context.Background()) //nolint:errcheck // it has no sockets
	in.Presence().Close()
	in.letGo()
}

// holds registers release to be called when the life ends.
func (in *Instance) holds(release func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.releases = append(in.releases, release)
}

// letGo calls the releases of Options.Sockets.
func (in *Instance) letGo() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, release := range in.releases {
		in.note(in.guard("the release of Options.Sockets", func() error { release(); return nil }))
	}
	in.releases = nil
}
