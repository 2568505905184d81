package channels

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/wire"
)

// Options configure an [Endpoint]. The zero value is usable.
type Options struct {
	// Logger logs crashes and errors at level error, refused and dropped
	// messages at warn, and connects, joins, events and their ends at debug.
	// [SlogLogger] makes one of a slog.Logger. The default logs errors to
	// standard error; zerolog.Nop discards everything. At most ten lines of a
	// kind are logged in a second (1,000 at debug), followed by the number of
	// lines left out. Strings chosen by clients are cut at 256 bytes; query
	// strings and tokens are never logged. Lines are written on event loops: a
	// writer that may block needs a buffer, such as zerolog's package diode.
	Logger *zerolog.Logger
	// Limits bound what clients may use.
	Limits Limits
	// SlowReceiver is the policy for connections that reach
	// Limits.OutboundBytes. The default is DisconnectSlow.
	SlowReceiver SlowReceiver
	// Handler serves requests that are not for a socket. The default answers
	// 404. Limits.HandshakeTimeout bounds how long their clients may take.
	Handler http.Handler
	// TLS, if not nil, serves TLS on the same port, to connections that begin
	// with a TLS handshake. Its NextProtos are not used, except "acme-tls/1".
	// If it verifies certificates of clients, [Request.Certificate] has them.
	// ClearText is the policy for connections without TLS.
	TLS *tls.Config
	// ClearText is the policy for connections without TLS if TLS is set.
	ClearText ClearText
	// TrustedProxies are the addresses of reverse proxies whose X-Forwarded-For
	// names the client: [Request.RemoteAddr] and the limits by address then use
	// that. Each of these proxies must append to the header field or set it.
	// Without trusted proxies the client is the peer of the connection. A guest
	// uses those of its host.
	TrustedProxies []netip.Prefix
	// Drain paces [Endpoint.Shutdown].
	Drain Drain
	// DrainingNodes returns how many nodes are draining at the moment, this one
	// included, which share the pace of Drain. It is called for each batch, on
	// any goroutine, and must not block. Nil means that this node drains alone.
	// Guests have the pace of their host.
	DrainingNodes func() int
	// Bus connects the endpoints of several nodes. nil means a single node.
	Bus pubsub.Bus
	// History records broadcasts, so that clients that come back are sent what
	// they missed: see docs/history.md. Which topics and events are recorded is up
	// to its rules; what [Endpoint.BroadcastLocal] sends is not. nil records
	// nothing. Endpoints must not share a space.
	History *history.Space
	// Host makes the endpoint a guest of another, whose event loops and
	// listeners it shares; see [Endpoint.Route]. The guest ignores its own
	// Handler, TLS, Loops, Portable, IOUring, SlowReceiver, TrustedProxies and
	// Limits.OutboundBytes.
	Host *Endpoint
	// Loops is the number of event loops. The default is one for each
	// processor.
	Loops int
	// Portable serves each connection with goroutines and a net.Conn instead of
	// epoll. It is always so on systems without epoll.
	Portable bool
	// IOUring selects whether frames are sent with io_uring. TLS and Portable
	// do not use it.
	IOUring IOUring
}

// Endpoint is a server of channels. It serves sockets at paths, which share one
// space of topics. An endpoint with Options.Host is a guest: it has topics,
// limits, counters and a shutdown of its own, but no port.
type Endpoint struct {
	// Static after NewEndpoint.
	log          *logging.Log
	limits       Limits // except those that Reconfigure changes; a socket's own are its mount's
	options      Options
	host         *Endpoint // nil: this is not a guest
	loops        *netloop.Group
	tenant       *netloop.Tenant // the queues of its work on the loops
	gate         *admission.Gate // counts and refuses connections; it knows whether the endpoint drains
	front        *front.Front    // of the listeners; a guest's is its host's
	pubsub       *dispatch.PubSub
	history      *history.Space // nil: nothing is recorded
	leaveHistory func()         // nil without history
	stopped      chan struct{}  // closed when Shutdown has ended all loops
	number       uint64         // of the endpoint, among those of this process

	// perLoop[i] is owned by loop i.
	perLoop []perLoop

	live        atomic.Pointer[Limits]   // the limits of all connections together
	observer    atomic.Pointer[observed] // nil: nobody observes
	counters    counters
	connections atomic.Int64 // connections of sockets, until HandleClose
	callbacks   atomic.Int64 // callbacks that run on goroutines, or wait for one
	workers     workers
	totals      totals // usage of the live limits
	sessions    *pollSessions
	pace        pacer // of all drains, including its guests'
	refresher   refresher
	pulse       pulse

	// Guarded by mu.
	mu       sync.RWMutex
	places   map[string]place // by path: "/socket/websocket", "/socket/longpoll"
	routes   []route          // to guests, by prefix
	guests   map[*Endpoint]struct{}
	departed *Stats // counters of former guests; nil: there were none
}

// perLoop is the endpoint's state on one loop.
type perLoop struct {
	sockets   []*Socket
	held      map[*Socket]*hold     // sockets that are not read now; nil: there was none
	renewals  map[*Socket]*renewals // sockets whose clients must read before they are sent more; nil: there was none
	catchUps  map[*Context]*catchUp // channels that are catching up; nil: none
	followers map[*Context]struct{} // channels whose clients are sent marks; nil: none
	doubted   map[*Socket]struct{}  // sockets that may be half-open; nil: there was none
	answers   map[*Socket]uint32    // probes that were answered, of sockets that are socketAnswered; nil: there was none
	traffic   traffic
	joins     joinTimers
	ids       socketIDs
	directory *directory // nil: nobody has asked for anything in it
	*scratch
	_ [64]byte // keeps the next loop on another cache line
}

// scratch is state that a loop shares between a host and its guests: memory for
// handling one message, since a loop handles one at a time.
type scratch struct {
	message wire.Message // of handleMessage
	item    item         // of handleNow and startJoin
	polls   idlePolls
}

// mount is a socket path with its options and channels. It is immutable: a
// socket keeps the mount that it connected to.
type mount struct {
	endpoint *Endpoint
	path     string
	options  SocketOptions
	limits   *Limits
	router   *router
	outer    *outer
}

// NewEndpoint returns an endpoint and starts its event loops, which
// [Endpoint.Shutdown] ends.
func NewEndpoint(o Options) (*Endpoint, error) {
	e := &Endpoint{
		limits: o.Limits.withDefaults(), options: o, log: logging.NewLog(o.Logger),
		stopped: make(chan struct{}), number: endpointNumbers.Add(1), places: make(map[string]place), history: o.History, pulse: pulse{every: pulseEvery},
	}
	if err := o.checkHistory(); err != nil {
		return nil, err
	}
	e.live.Store(&e.limits)
	e.totals.set(&e.limits)
	if o.Host != nil {
		return e, e.moveIn(o.Host)
	}
	e.gate = admission.NewGate(e.limits.admission(), o.TrustedProxies, nil)
	if err := o.checkPolicies(); err != nil {
		return nil, err
	}
	if e.options.Drain == (Drain{}) {
		e.options.Drain = defaultDrain
	}
	e.sessions = newPollSessions()
	var err error
	e.loops, err = netloop.New(netloop.Options{
		Loops: o.Loops, Portable: o.Portable, IOUring: uringModes[o.IOUring],
		OutboundLimit: e.limits.OutboundBytes, Overflow: overflowPolicies[o.SlowReceiver],
		SendBuffer: e.limits.SendBuffer, Handshakes: e.limits.handshakes(),
		OnError: e.logNetwork,
		OnHandshake: func(peer netip.AddrPort, err error) {
			e.log.Debug("TLS handshake failed").Err(err).Addr("address", peer).Write()
		},
	})
	if err != nil {
		return nil, fmt.Errorf("channels: starting the event loops: %w", err)
	}
	if o.TLS != nil && !o.Portable && !netloop.LendsBuffers() {
		e.log.Warn("crypto/tls of this version of Go keeps its buffers: an idle TLS connection takes up to 32 KiB more").Write()
	}
	if why := e.loops.PlainSends(); why != nil {
		e.log.Debug("sending without io_uring").Err(why).Write()
	} else {
		e.log.Debug("sending through io_uring").Write()
	}
	e.tenant = e.loops.NewTenant()
	e.perLoop = make([]perLoop, len(e.loops.Loops()))
	for i := range e.perLoop {
		e.perLoop[i].scratch = new(scratch)
	}
	if err := e.openTopics(0); err != nil {
		e.loops.Close() // the first error is the one to report
		return nil, err
	}
	e.front = front.New(front.Options{
		Loops: e.loops, Gate: e.gate, Log: e.log, HeaderBytes: e.limits.HeaderBytes, HandshakeTimeout: e.limits.HandshakeTimeout,
		TLS: o.TLS, ClearText: front.ClearText(o.ClearText),
		Find: e.findPlace, Handler: http.HandlerFunc(e.serveOwnPort), OnLost: e.logLost,
	})
	return e, nil
}

// openTopics creates the endpoint's topics on its loops.
func (e *Endpoint) openTopics(stripes int) (err error) {
	var shards []dispatch.Executor
	for _, l := range e.tenant.Lanes() {
		shards = append(shards, l)
	}
	e.pubsub, err = dispatch.New(shards, fastlane{e}, dispatch.Options{
		Bus: e.options.Bus, Codec: codec{}, Stripes: stripes,
		OnError: func(err error) { e.log.Error("bus").Err(err).Write() },
	})
	if err != nil {
		return err
	}
	e.pubsub.OnControl(e.handleControl)
	if e.history != nil {
		e.leaveHistory = e.history.Attach((*receiver)(e))
	}
	return nil
}

// Socket serves channels at a path. Clients connect to the path followed by
// "/websocket", as phoenix.js does for new Socket(path); see SocketOptions.Path
// for another end. With SocketOptions.LongPoll they may also poll the path
// followed by "/longpoll". A topic is served by the first channel whose pattern
// matches it.
//
// Socket panics if the path is in use or not absolute, as http.ServeMux does.
// It may be called while the endpoint serves.
func (e *Endpoint) Socket(socketPath string, o SocketOptions, channels ...*Channel) {
	if !strings.HasPrefix(socketPath, "/") || path.Clean(socketPath) != socketPath {
		panic(fmt.Sprintf("channels: socket path %q: must begin with / and be clean, like \"/socket\"", socketPath))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.newMount(socketPath, o, e.live.Load(), channels)
	websocketAt, pollAt := m.paths()
	e.occupy(websocketAt, place{mount: m})
	if m.options.LongPoll.Enabled {
		e.occupy(pollAt, place{mount: m, polled: true})
	}
}

// occupy puts a socket at a path. The caller holds mu.
func (e *Endpoint) occupy(path string, at place) {
	if _, taken := e.places[path]; taken {
		panic(fmt.Sprintf("channels: two sockets at path %q", path))
	}
	e.places[path] = at
}

func (e *Endpoint) newMount(socketPath string, o SocketOptions, l *Limits, channels []*Channel) *mount {
	m := &mount{endpoint: e, path: socketPath, options: o.withDefaults(), limits: l, router: newRouter(channels)}
	m.outer = newOuter(o.Outer, channels)
	m.options.frames.MaxFrame = l.MaxMessage
	if o.MaxMessage > 0 {
		m.options.frames.MaxFrame = o.MaxMessage
	}
	return m
}

// paths returns the paths of a mount's transports; pollAt is "" unless long
// polling is enabled.
func (m *mount) paths() (websocketAt, pollAt string) {
	return path.Join(m.path, m.options.Path), path.Join(m.path, m.options.LongPoll.Path)
}
