package channels

// ClearText is a policy for connections without TLS to a port that has it.
// Connections over Unix sockets are always served, and so are requests that another
// net/http server passes to [Endpoint.ServeHTTP].
type ClearText uint8

const (
	// ClearTextAllow serves them. It is the default, because health checks and
	// proxies on the same machine may not use TLS. Programs whose sockets carry
	// tokens should choose another policy.
	ClearTextAllow ClearText = iota
	// ClearTextRedirect answers a GET or HEAD for Options.Handler with 308 and the
	// same URL with https. It refuses all other requests as ClearTextRefuse does:
	// clients of sockets follow no redirect, and a request with a body or an
	// Authorization header has exposed its secrets already.
	ClearTextRedirect
	// ClearTextRefuse answers every request with 403 and the reason.
	ClearTextRefuse
)
