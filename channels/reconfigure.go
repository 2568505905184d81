package channels

import "fmt"

// Reconfigure gives the endpoint other limits, and the socket at socketPath
// other options and channels, both in one step. Every field of l and o stands in
// the place of the old one, with the same defaults.
//
// A socket that is connected keeps the options, the channels and the limits
// that it connected with; of l, MaxConnections, MaxConnectionsPerAddress (by what
// connects from now on), HandshakesPerSecond and the rates of all sockets together
// hold at once and for all paths.
// OutboundBytes, SendBuffer, HeaderBytes and HandshakeTimeout belong to the loops and to
// net/http and stay as they were, and so do SocketOptions.Path and
// LongPoll.Path. The sockets at other paths keep their limits until they are
// reconfigured too.
//
// It returns an error if no socket is at socketPath, and may be called while
// the endpoint serves.
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
	if taken := e.mounts[pollAt]; m.options.LongPoll.Enabled && (taken != nil || e.polled[pollAt] != nil && e.polled[pollAt] != old) {
		return fmt.Errorf("channels: path %q is taken: no long polling for the socket at %q", pollAt, socketPath)
	}
	e.mounts[websocketAt] = m
	switch {
	case m.options.LongPoll.Enabled:
		e.polled[pollAt] = m
	case old.options.LongPoll.Enabled:
		delete(e.polled, pollAt)
	}
	e.limit(&l)
	return nil
}

// Limit gives the endpoint other limits where they are of all connections
// together: see [Endpoint.Reconfigure]. The sockets at its paths keep theirs.
func (e *Endpoint) Limit(l Limits) {
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

// mountOf returns the socket that was mounted at a path of Socket. The caller
// holds mu.
func (e *Endpoint) mountOf(socketPath string) *mount {
	for _, m := range e.mounts {
		if m.path == socketPath {
			return m
		}
	}
	return nil
}
