package channels

import "errors"

// Why an endpoint is not ready: see [Endpoint.Ready]. Broadcasts may fail with
// ErrOverloaded too; a handler that returns it answers the client with the error
// reply {"reason": "overloaded"}.
var (
	ErrDraining   = errors.New("draining")
	ErrOverloaded = errors.New("overloaded")
	ErrFull       = errors.New("full")
)

// Ready returns nil if the endpoint can take another client now. Otherwise it
// returns [ErrDraining] while the endpoint shuts down, [ErrOverloaded] while its
// loops are behind and its sockets are not read, or [ErrFull] if
// Limits.MaxConnections is reached. It is meant for health checks of load
// balancers, and safe from any goroutine.
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
