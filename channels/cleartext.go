package channels

// ClearText is a policy for connections that come without TLS to a port that
// has it. Connections over Unix sockets are served in any case, and so are
// requests that another net/http server hands to [Endpoint.ServeHTTP].
type ClearText uint8

const (
	// ClearTextAllow serves them. It is the default, because a health check or a
	// proxy on the same machine may have no TLS; a program whose sockets carry
	// tokens should choose another policy.
	ClearTextAllow ClearText = iota
	// ClearTextRedirect answers a GET or HEAD for Options.Handler with 308 and the same
	// URL with https, and refuses the rest as ClearTextRefuse does: sockets, whose
	// clients follow no redirect, and requests with a body or an Authorization
	// header, which have told their secrets already.
	ClearTextRedirect
	// ClearTextRefuse answers every request with 403 and says why.
	ClearTextRefuse
)
