package channels

import "fmt"

// Reconfigure replaces the limits of the endpoint, and the options and channels of
// the socket at socketPath, in one step. Every field of l and o replaces the old
// one, with the same defaults.
//
// A connected socket keeps the options, channels and limits that it connected with.
// Of l, MaxConnections, MaxConnectionsPerAddress (for new connections),
// HandshakesPerSecond, HandshakeWait and the rates of all sockets together take effect at once and
// for all paths. OutboundBytes, SendBuffer, HeaderBytes and HandshakeTimeout stay as
// they were, because they belong to the loops and to net/http. So do
// SocketOptions.Path and LongPoll.Path. The sockets at other paths keep their limits
// until they are reconfigured too.
//
// It returns an error if no socket is at socketPath. It may be called while the
// endpoint serves.
func (e *Endpoint) Reconfigure(socketPath string, l Limits, o SocketOptions, channels ...*Channel) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.mountOf(socketPath)
	if old == nil {
		return fmt.Errorf("channels: no socket at path %q to reconfigure", socketPath)
	}
	l = l.withDefaults()
	l.OutboundBytes, l.SendBuffer = e.limits.OutboundBytes, e.limits.SendBuffer
	l.HeaderBytes, l.HandshakeTimeout = e.limits.HeaderBytes, e.limits.HandshakeTimeout
	o.Path, o.LongPoll.Path = old.options.Path, old.options.LongPoll.Path
	m := e.newMount(socketPath, o, &l, channels)
	websocketAt, pollAt := m.paths()
	if at, taken := e.places[pollAt]; m.options.LongPoll.Enabled && taken && at != (place{mount: old, polled: true}) {
		return fmt.Errorf("channels: path %q is taken: no long polling for the socket at %q", pollAt, socketPath)
	}
	e.places[websocketAt] = place{mount: m}
	switch {
	case m.options.LongPoll.Enabled:
		e.places[pollAt] = place{mount: m, polled: true}
	case old.options.LongPoll.Enabled:
		delete(e.places, pollAt)
	}
	e.limit(&l)
	return nil
}

// SetLimits replaces the limits that concern all connections together, as
// [Endpoint.Reconfigure] does. The sockets at the endpoint's paths keep theirs.
func (e *Endpoint) SetLimits(l Limits) {
	l = l.withDefaults()
	e.limit(&l)
}

// Limits returns the limits of the endpoint, with the defaults filled in.
func (e *Endpoint) Limits() Limits { return *e.live.Load() }

func (e *Endpoint) limit(l *Limits) {
	e.live.Store(l)
	e.totals.set(l)
	e.gate.SetLimits(l.admission())
}

// mountOf returns what Socket has mounted at socketPath, nil if there is nothing. The
// caller holds mu.
func (e *Endpoint) mountOf(socketPath string) *mount {
	for _, at := range e.places {
		if at.mount.path == socketPath {
			return at.mount
		}
	}
	return nil
}
