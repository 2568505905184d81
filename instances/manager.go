package instances

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// Options of a [Manager]. The zero value is usable.
type Options struct {
	// Store keeps the specs; nil keeps them in memory. The caller closes it,
	// after the manager.
	Store Store
	// Node is the name of this node. With it, and a [SharedStore] in Store, the
	// manager shares its instances with those of all nodes that have the same
	// store. Two nodes must not have the same name.
	Node string
	// Address is where other nodes reach this one; they read it from [Owner].
	Address string
	// Elsewhere is called for a client that connects to an instance which
	// another node runs, and returns the error with which this node refuses it
	// (see [channels.Lookup]).
	// It is called on an event loop, and must not block. If Elsewhere is nil,
	// such clients are refused with 503.
	Elsewhere func(id string, owner Owner) error
	// Path is the path below which clients connect: with "/socket", they use
	// new Socket("/socket/ID"). Default "/socket".
	Path string
	// Default is the id of the instance that serves Path itself; empty means
	// none.
	Default string
	// Limits apply to an instance whose spec has none, and are the most that a
	// spec may ask for. For a field that is 0, the host's limit applies. A spec
	// from the store that asks for more, because the limits were higher once,
	// is served with these, and a warning is logged.
	Limits channels.Limits
	// Sockets returns the options of an instance's socket, such as origins and
	// compression, and interprets Spec.Auth. Its Connect is called before the
	// type's. An error refuses the spec; it is a [fielderr.List] if the field
	// is known. release, if not nil, is called when the instance has ended. If
	// Sockets is nil, the zero SocketOptions apply, and a spec with Auth is
	// refused.
	Sockets func(Spec) (o channels.SocketOptions, release func(), err error)
	// Wrap completes the options of an instance's socket, after Sockets and the type,
	// and interprets Spec.Hooks. Its errors and release are as those of Sockets. It is
	// called for each life, and again when Hooks has changed. If it is nil, a spec with
	// Hooks is refused.
	Wrap func(in *Instance, spec Spec, so channels.SocketOptions) (o channels.SocketOptions, release func(), err error)
	// Bus returns the bus of an instance whose type spreads (see [Type.Spread]) and
	// that is declared, or shared by the nodes: it connects the instances with this
	// id on all nodes. It is called for each life, which closes its bus. nil means
	// a single node.
	Bus func(id string) pubsub.Bus
	// Replicator returns the replicator that connects the presences of such an
	// instance with those of the instances with this id on other nodes. nil
	// means that each node has its own presences.
	Replicator func(id string) presence.Replicator
	// History keeps what instances record: see Spec.History. With Bus, it must be shared
	// with the other nodes. nil means a store of the manager's own, in which instances
	// with a bus record nothing.
	History *history.Store
	// Began, if not nil, is called with each life of an instance before it serves clients,
	// and again when its hooks change. It may observe the life: see [Instance.Observe]. An
	// error refuses the life, or the change.
	Began func(*Instance, Spec) error
	// Logger gets what happens to instances, as channels.Options.Logger does; nil
	// writes errors to standard error.
	Logger *zerolog.Logger

	// StartTimeout bounds Start. Default 10 s.
	StartTimeout time.Duration
	// DrainTimeout bounds the closing of an instance's sockets. Default 30 s.
	DrainTimeout time.Duration
	// Grace bounds Stop, and then the end of the instance's goroutines. Default 5 s.
	Grace time.Duration
	// An instance that has crashed more than MaxCrashes times within CrashWindow
	// is failed. Defaults 5 and 1 minute.
	MaxCrashes  int
	CrashWindow time.Duration
	// Backoff is about how long a restart waits: plus or minus half, so that
	// instances that failed together do not restart together. Default 1 s.
	Backoff time.Duration
	// Now is the clock of Info and of idle times; nil: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.Path = cmp.Or(o.Path, "/socket")
	o.StartTimeout = cmp.Or(o.StartTimeout, 10*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	o.MaxCrashes = cmp.Or(o.MaxCrashes, 5)
	o.CrashWindow = cmp.Or(o.CrashWindow, time.Minute)
	o.Backoff = cmp.Or(o.Backoff, time.Second)
	if o.Store == nil {
		o.Store = new(Memory)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Manager creates and runs instances on an endpoint. Its methods are safe from
// any goroutine, except from a hook or channel callback of the instance that
// they change, which would wait for itself.
type Manager struct {
	// Static after construction.
	host    *channels.Endpoint
	options Options
	store   Store
	log     *logging.Log
	logger  zerolog.Logger  // parent of the instances' loggers
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup // goroutines of background, and the sweeper
	nodes   *nodes         // nil: this node does not share its instances
	// ownHistory: options.History was made, and is closed, by the manager.
	ownHistory bool

	mu       sync.RWMutex
	types    map[string]*Type   // guarded by mu
	members  map[string]*member // guarded by mu
	departed map[string]*Total  // of former members, by type; guarded by mu
	closed   bool               // guarded by mu
	serial   uint64             // serial of the last member; guarded by mu
	watchers watchers
}

// New returns a manager whose instances are served by host: their clients
// connect below Options.Path. Register the types, then call Open.
func New(host *channels.Endpoint, o Options) *Manager {
	o = o.withDefaults()
	m := &Manager{
		host: host, options: o, store: guardedStore{o.Store}, log: logging.NewLog(o.Logger), logger: logging.OrStderr(o.Logger),
		types: make(map[string]*Type), members: make(map[string]*member), departed: make(map[string]*Total),
	}
	if o.History == nil {
		m.options.History, m.ownHistory = history.NewStore(history.Options{}), true
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if shared, ok := o.Store.(SharedStore); ok && o.Node != "" {
		m.join(shared)
	}
	host.Route(o.Path, m.lookup)
	m.work.Go(m.sweep)
	return m
}

// Register adds a type. Like http.Handle, it panics if the name is registered
// already.
func (m *Manager) Register(t Type) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.types[t.name] != nil {
		panic(fmt.Sprintf("instances: two types %q", t.name))
	}
	m.types[t.name] = &t
	m.routeUnder(&t)
}

// Types returns the registered types, by name.
func (m *Manager) Types() []Type {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]Type, 0, len(m.types))
	for _, t := range m.types {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Type) int { return strings.Compare(a.name, b.name) })
	return list
}

// Path returns the path at which clients of an instance connect: new
// Socket(Path(id)).
func (m *Manager) Path(id string) string {
	if id == m.options.Default {
		return m.options.Path
	}
	return strings.TrimSuffix(m.options.Path, "/") + "/" + id
}

var (
	errUnknown = &channels.RefusedError{Status: http.StatusNotFound}
	errAway    = &channels.RefusedError{Status: http.StatusServiceUnavailable, RetryAfter: 2 * time.Second}
)

// find returns the member with an id. It may be one that others cannot see yet.
func (m *Manager) find(id string) (*member, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	found := m.members[id]
	if found == nil {
		return nil, ErrNotFound
	}
	return found, nil
}

// Get returns an instance, or ErrNotFound.
func (m *Manager) Get(id string) (Info, error) {
	found, err := m.find(id)
	if err != nil {
		return Info{}, err
	}
	i, ok := found.info()
	if !ok {
		return Info{}, ErrNotFound
	}
	return i, nil
}

// List returns a page of instances ordered by id, and the Filter.After of the
// next page, which is empty after the last.
func (m *Manager) List(f Filter) (page []Info, next string) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	m.mu.RLock()
	var ids []string
	for id := range m.members {
		if id > f.After && (f.Sees == nil || f.Sees(id)) {
			ids = append(ids, id)
		}
	}
	m.mu.RUnlock()
	slices.Sort(ids)
	for _, id := range ids {
		i, err := m.Get(id)
		if err != nil || !f.matches(&i) {
			continue
		}
		if len(page) == f.Limit {
			return page, page[len(page)-1].ID
		}
		page = append(page, i)
	}
	return page, ""
}

// Signal calls an instance's logic: see [Signaler].
func (m *Manager) Signal(ctx context.Context, id, name string, data json.RawMessage) (json.RawMessage, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.signal(ctx, name, data)
}

// Broadcast sends an event to all channels that have joined a topic of an
// instance. payload is a JSON object. On a topic with a durable history it waits until the
// message is stored, and returns [channels.ErrNotStored] if that fails.
func (m *Manager) Broadcast(id, topic, event string, payload json.RawMessage) error {
	in, err := m.alive(id)
	if err != nil {
		return err
	}
	return in.endpoint.BroadcastStored(context.Background(), topic, event, payload) // the store answers in time
}

// Disconnect closes all sockets of an instance with this socket id; their
// clients reconnect by themselves.
func (m *Manager) Disconnect(id, socketID string) error {
	in, err := m.alive(id)
	if err != nil {
		return err
	}
	return in.endpoint.Disconnect(socketID)
}

// To returns the sockets of an instance that a target selects, on all nodes that run it.
func (m *Manager) To(id string, t channels.Target) (channels.Audience, error) {
	in, err := m.alive(id)
	if err != nil {
		return channels.Audience{}, err
	}
	return in.endpoint.To(t), nil
}

// Spreads reports whether an instance runs on all nodes of a cluster.
func (m *Manager) Spreads(id string) bool {
	one, err := m.find(id)
	if err != nil {
		return false
	}
	one.mu.RLock()
	defer one.mu.RUnlock()
	return one.spreads(one.kind)
}

// CloseIf closes sockets of an instance on this node, as [channels.Endpoint.CloseIf] does.
// It does nothing if the instance does not run here.
func (m *Manager) CloseIf(id string, code uint16, reason string, f func(*channels.Socket) bool) {
	if in, err := m.alive(id); err == nil {
		in.endpoint.CloseIf(code, reason, f)
	}
}

func (m *Manager) alive(id string) (*Instance, error) {
	found, err := m.find(id)
	if err != nil {
		return nil, err
	}
	return found.alive()
}

// background runs f on a goroutine that Close waits for; its ctx ends with
// Close. It returns false if the manager is closed.
func (m *Manager) background(f func(ctx context.Context)) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.closed {
		m.work.Go(func() { f(m.ctx) })
	}
	return !m.closed
}

// Close drains all instances, at the pace of the host's Drain, and forgets
// them; their specs stay in the store. In a cluster, each instance that this node
// owns is handed over to another node as soon as it has ended here. If ctx is done
// first, Close returns its error, and the rest ends by its own timeouts. Close the
// manager before the host is shut down.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	already := m.closed
	m.closed = true
	members := make([]*member, 0, len(m.members))
	for _, one := range m.members {
		members = append(members, one)
	}
	m.mu.Unlock()
	if already {
		return ErrClosed
	}
	m.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if m.nodes != nil {
			m.nodes.drain(ctx)
		}
		var all sync.WaitGroup
		for _, one := range members {
			all.Go(func() { m.closeOne(one) })
		}
		all.Wait()
		m.work.Wait()
		if m.nodes != nil {
			m.nodes.close(ctx)
		}
		if m.ownHistory {
			m.options.History.Close()
		}
		m.watchers.close()
		m.log.Flush()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeOne ends an instance when the manager is closed.
func (m *Manager) closeOne(one *member) {
	one.lock(context.Background()) //nolint:errcheck // the context never ends
	defer one.unlock()
	one.setState(Draining, "the server stops")
	one.halt()
	one.setState(Stopped, "the server stops")
}

var (
	errNoHooks = errors.New("this server takes no hooks for instances")
	errNoAuth  = errors.New("this server takes no auth for instances")
)
