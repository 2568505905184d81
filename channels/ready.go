package channels

import "errors"

// What an endpoint is not ready for, as [Endpoint.Ready] says it. Broadcasts may
// fail with ErrOverloaded too; a handler that returns it answers the client with the
// error reply {"reason": "overloaded"}.
var (
	ErrDraining   = errors.New("draining")
	ErrOverloaded = errors.New("overloaded")
	ErrFull       = errors.New("full")
)

// Ready reports whether the endpoint would take another client now: nil, or
// [ErrDraining] (it shuts down), [ErrOverloaded] (it has given its loops more to
// do than they get done, and its sockets are not read for the moment), [ErrFull]
// (Limits.MaxConnections is reached). It is for a load balancer's question, and
// safe from any goroutine.
func (e *Endpoint) Ready() error {
	switch {
	case e.isDraining():
		return ErrDraining
	case e.tenant.Overloaded(), e.host == nil && e.loops.Lobby().Overloaded():
		return ErrOverloaded
	case e.gate.Full():
		return ErrFull
	case e.host != nil:
		return e.host.Ready()
	}
	return nil
}
