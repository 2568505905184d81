package channels

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// ListenAndServe listens on a TCP address and serves until ctx is done, then
// shuts down as [Endpoint.Shutdown] does, within Drain.Timeout. It returns nil
// after a clean shutdown. It logs where it listens, at level info. If it cannot listen, it returns at once and leaves the
// endpoint as it was: it may be called again for another address, or Shutdown may
// end the endpoint.
func (e *Endpoint) ListenAndServe(ctx context.Context, addr string) error {
	at, err := e.Listen(addr)
	if err != nil {
		return err
	}
	e.log.Info("listening").Str("addr", at.String()).Write()
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.Drain.Timeout)
	defer cancel()
	return e.Shutdown(down)
}

// Listen starts serving on a TCP address (":4000", "127.0.0.1:0") and returns the
// address it listens on.
func (e *Endpoint) Listen(addr string) (net.Addr, error) {
	if e.host != nil {
		return nil, errGuestListens
	}
	at, err := e.front.Listen(addr)
	return at, servingError(err)
}

// Serve starts serving on a listener, which belongs to the endpoint from then on.
func (e *Endpoint) Serve(l net.Listener) (net.Addr, error) {
	if e.host != nil {
		l.Close() // it belongs to the endpoint
		return nil, errGuestListens
	}
	at, err := e.front.Serve(l)
	return at, servingError(err)
}

// ListenTCP starts serving raw TCP on an address, beside the ports of Listen and Serve,
// and returns the address it listens on. Devices and programs without a WebSocket stack
// connect to it: docs/tcp.md specifies what they send. They join the same channels, at
// the paths of [Endpoint.Socket]; their Request and Socket have the transport "tcp".
// With Options.TLS it serves TLS too.
func (e *Endpoint) ListenTCP(addr string) (net.Addr, error) {
	if e.host != nil {
		return nil, errGuestListens
	}
	at, err := e.front.ListenTCP(addr)
	return at, servingError(err)
}

// ServeTCP is ListenTCP for a listener, which belongs to the endpoint from then on.
func (e *Endpoint) ServeTCP(l net.Listener) (net.Addr, error) {
	if e.host != nil {
		l.Close() // it belongs to the endpoint
		return nil, errGuestListens
	}
	at, err := e.front.ServeTCP(l)
	return at, servingError(err)
}

// errNotServing is returned by Listen and Serve once Shutdown was called.
var errNotServing = errors.New("channels: the endpoint has been shut down and cannot serve again: make another with NewEndpoint")

func servingError(err error) error {
	if errors.Is(err, netloop.ErrClosed) {
		return errNotServing
	}
	return err
}

// ServeHTTP serves the endpoint's sockets inside another net/http server, and
// everything else by Options.Handler. A connection that upgrades leaves net/http
// and its goroutine, and is then served like any other.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at, ref := e.find(front.Path(r))
	switch {
	case ref != nil:
		front.Moving(front.Forwarded(r), ref).Write(w)
	case at.elsewhere != nil:
		e.front.Forward(w, r, at.elsewhere)
	case at.polled:
		at.mount.serveLongPoll(w, r)
	case at.mount != nil:
		e.front.Upgrade(w, r, at.mount)
	case e.options.Handler != nil:
		e.options.Handler.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveOwnPort is ServeHTTP for requests that came to the endpoint's own port.
func (e *Endpoint) serveOwnPort(w http.ResponseWriter, r *http.Request) {
	defer e.abort()
	e.ServeHTTP(w, r)
}

// place is what a path is for: the WebSockets of a mount, its long polling, or what
// another node serves. The zero place is a path without a socket.
type place struct {
	mount     *mount
	polled    bool
	elsewhere *forward.Elsewhere
}

// find returns what serves a path. The endpoint's own sockets come first, then
// those of its guests. A refusal is the answer to every client.
func (e *Endpoint) find(path string) (place, *admission.Refusal) {
	e.mu.RLock()
	at, found := e.places[path]
	routes := e.routes // only ever appended to
	e.mu.RUnlock()
	if found {
		return at, nil
	}
	for _, r := range routes {
		below, ok := strings.CutPrefix(path, r.prefix)
		if !ok {
			continue
		}
		guest, rest, err := r.call(below)
		if err != nil {
			var other *forward.Elsewhere
			if errors.As(err, &other) {
				return place{elsewhere: other}, nil
			}
			return place{}, e.refusalBy(err)
		}
		if guest != nil {
			return guest.placeAt(rest), nil
		}
	}
	return place{}, nil
}

// placeAt is find without guests.
func (e *Endpoint) placeAt(path string) place {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.places[path]
}

// findPlace is find for the front.
func (e *Endpoint) findPlace(path string) (front.Place, *admission.Refusal) {
	at, ref := e.find(path)
	found := front.Place{Polled: at.polled, Elsewhere: at.elsewhere}
	if at.mount != nil && !at.polled {
		found.Mount = at.mount
	}
	return found, ref
}
