package channels

import (
	"errors"
	"fmt"
	"math/bits"
	"path"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/callback"
)

// errGuestListens is returned by Listen and Serve of a guest.
var errGuestListens = errors.New("channels: an endpoint with Options.Host has no port of its own: it is reached through the Route of its host")

// maxGuestStripes bounds the memory of a guest without topics.
const maxGuestStripes = 16

// moveIn makes e a guest of host.
func (e *Endpoint) moveIn(host *Endpoint) error {
	if host.host != nil {
		return errors.New("channels: Options.Host is a guest itself: give the endpoint that listens")
	}
	e.host, e.loops, e.front = host, host.loops, host.front
	e.tenant = e.loops.NewTenant()
	e.gate = admission.NewGate(e.limits.admission(), nil, host.gate)
	e.limits.OutboundBytes = host.limits.OutboundBytes
	e.options.SlowReceiver = host.options.SlowReceiver
	e.options.TrustedProxies = host.options.TrustedProxies
	if e.options.Drain == (Drain{}) {
		e.options.Drain = host.options.Drain
	}
	e.sessions = host.sessions.forGuest()
	e.perLoop = make([]perLoop, len(host.perLoop))
	for i := range e.perLoop {
		e.perLoop[i].scratch = host.perLoop[i].scratch
	}
	stripes := 1 << bits.Len(uint(len(e.perLoop))) // more than the number of loops
	if err := e.openTopics(min(stripes, maxGuestStripes)); err != nil {
		return err
	}
	host.mu.Lock()
	defer host.mu.Unlock()
	if host.isDraining() {
		e.pubsub.Close() // nothing was sent
		return errNotServing
	}
	if host.guests == nil {
		host.guests = make(map[*Endpoint]struct{})
	}
	host.guests[e] = struct{}{}
	return nil
}

// moveOut removes a guest from its host.
func (e *Endpoint) moveOut() {
	e.host.mu.Lock()
	defer e.host.mu.Unlock()
	delete(e.host.guests, e)
	counted := e.ownStats()
	counted.Sockets, counted.TCP.Sockets, counted.Channels, counted.Callbacks, counted.LongPoll.Sessions = 0, 0, 0, 0, 0 // what is left of them ends
	if e.host.departed == nil {
		e.host.departed = new(Stats)
	}
	e.host.departed.Add(counted)
}

// Lookup finds the guest that serves a path below the prefix of a
// [Endpoint.Route]. below is the path without the prefix and its slash:
// "42/websocket". Lookup returns the guest and the path within it,
// "/websocket"; a nil guest means that the path is not for a socket. A
// [*RefusedError] refuses the client before any upgrade; other errors are
// answered with 500. Lookup is called for each connection on an event loop, and
// must not block.
type Lookup func(below string) (guest *Endpoint, path string, err error)

// route is a prefix of paths that guests serve.
type route struct {
	prefix string // with a slash at the end
	lookup Lookup
}

// Route has the paths below prefix served by guests: endpoints that were made
// with Options.Host. The endpoint's own sockets are looked for first. Route
// panics if the prefix has a route already or is not absolute. It may be called
// while the endpoint serves.
//
//	host.Route("/rooms", func(below string) (*channels.Endpoint, string, error) {
//		id, rest, _ := strings.Cut(below, "/")
//		return guests[id], "/" + rest, nil // made with guest.Socket("/", …)
//	})
func (e *Endpoint) Route(prefix string, lookup Lookup) {
	if !strings.HasPrefix(prefix, "/") || path.Clean(prefix) != prefix {
		panic(fmt.Sprintf("channels: route %q: must begin with / and be clean, like \"/socket\"", prefix))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := route{strings.TrimSuffix(prefix, "/") + "/", lookup}
	for _, other := range e.routes {
		if other.prefix == r.prefix {
			panic(fmt.Sprintf("channels: two routes at %q", prefix))
		}
	}
	e.routes = append(e.routes, r)
}

func (r *route) call(below string) (guest *Endpoint, path string, err error) {
	defer callback.Recover("Route", &err)
	return r.lookup(below)
}

// refusalBy returns the answer to a client that a Lookup has refused with err.
func (e *Endpoint) refusalBy(err error) *admission.Refusal {
	var custom *RefusedError
	if errors.As(err, &custom) {
		return custom.refusal()
	}
	if !e.reportPanic(err) {
		e.log.Error("no guest found").Err(err).Write()
	}
	return admission.Crashed
}
