package channels

import (
	"net/http"

	"github.com/mycelium-rt/mycelium/internal/front"
)

// ServeHTTP serves the endpoint's sockets inside another net/http server, and
// everything else by Options.Handler. A connection that upgrades leaves
// net/http and its goroutine, and is then served as any other.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, poll, ref := e.find(front.Path(r))
	switch {
	case ref != nil:
		ref.Write(w)
	case m != nil:
		e.front.Upgrade(w, r, m)
	case poll != nil:
		poll.endpoint.serveLongPoll(w, r, poll)
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
