package instances

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
)

// Under returns a copy of the type whose instances are also reached at a path below
// their own, for clients that append one to the address they are given: with
// "/realtime/v1", at ID/realtime/v1. If the default instance has this type, it is also
// reached at the path itself. Under panics if the path is not absolute and clean.
func (t Type) Under(at string) Type {
	if !strings.HasPrefix(at, "/") || path.Clean(at) != at || at == "/" {
		panic(fmt.Sprintf("instances: path %q of type %s: must begin with / and be clean, like \"/realtime/v1\"", at, t.name))
	}
	t.under = at
	return t
}

// routeUnder serves the default instance at the additional path of its type.
func (m *Manager) routeUnder(t *Type) {
	if t.under == "" || t.under == m.options.Path {
		return
	}
	m.host.Route(t.under, func(below string) (*channels.Endpoint, string, error) {
		if m.defaultUnder() != t.under {
			return nil, "", nil
		}
		return m.lookupIn(m.options.Default, below)
	})
}

// defaultUnder returns the additional path of the default instance, "" if it has none.
func (m *Manager) defaultUnder() string {
	one, err := m.find(m.options.Default)
	if err != nil {
		return ""
	}
	return one.under()
}

// under returns the additional path of the member's type, "" if it has none.
func (m *member) under() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.kind == nil {
		return ""
	}
	return m.kind.under
}

// split splits a path below Options.Path into the id of an instance and the rest.
func (m *Manager) split(below string) (id, rest string) {
	id, rest, _ = strings.Cut(below, "/")
	if reserved[id] && rest == "" {
		return m.options.Default, id
	}
	if _, err := m.find(id); err != nil && m.defaultUnder() != "" {
		return m.options.Default, below // such as realtime/v1/websocket
	}
	return id, rest
}

// lookup returns the endpoint of a path: "ID", "ID/websocket", "ID/longpoll",
// and "websocket" and "longpoll" for the default instance.
func (m *Manager) lookup(below string) (*channels.Endpoint, string, error) {
	return m.lookupIn(m.split(below))
}

// lookupIn returns the endpoint of an instance, and the path within it that rest
// stands for.
func (m *Manager) lookupIn(id, rest string) (*channels.Endpoint, string, error) {
	if rest == "" {
		rest = "websocket" // an upgrade at the instance's path itself
	}
	known, err := m.find(id)
	if err != nil {
		return nil, "", errUnknown
	}
	endpoint, err := known.serving()
	if errors.Is(err, ErrNotRunning) {
		err = m.refuseElsewhere(known)
	}
	if err != nil {
		return nil, "", err
	}
	return endpoint, known.pathWithin(rest), nil
}

// pathWithin returns the path that rest stands for within the instance.
func (m *member) pathWithin(rest string) string {
	rest = "/" + rest
	if under := m.under(); under != "" {
		if short, ok := strings.CutPrefix(rest, under+"/"); ok {
			return "/" + short
		}
	}
	return rest
}

// ServeHTTP serves requests for paths below an instance's own, other than those of its
// socket, with the instance's logic if that is an [http.Handler]. In r.URL.Path the
// handler sees what follows the path of the instance. All other requests are answered
// with 404.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := m.Handler(r.URL.EscapedPath()); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// Handler returns the handler that ServeHTTP uses for an escaped path, nil if it
// answers with 404.
func (m *Manager) Handler(path string) http.Handler {
	id, rest, ok := m.splitURL(path)
	if !ok {
		return nil
	}
	return m.HandlerOf(id, rest)
}

// HandlerOf is Handler for an instance whose id is known. rest is the path below the
// instance's own, escaped and without the leading slash.
func (m *Manager) HandlerOf(id, rest string) http.Handler {
	one, err := m.find(id)
	if err != nil {
		return nil
	}
	in, err := one.alive()
	if err != nil {
		return nil
	}
	h, ok := in.logic.(http.Handler)
	if !ok {
		return nil
	}
	escaped := one.pathWithin(rest)
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = path, escaped
		h.ServeHTTP(w, inner)
	})
}

// splitURL splits the escaped path of a URL into the id of an instance and the rest.
func (m *Manager) splitURL(path string) (id, rest string, ok bool) {
	if below, ok := strings.CutPrefix(path, strings.TrimSuffix(m.options.Path, "/")+"/"); ok {
		id, rest = m.split(below)
		return id, rest, true
	}
	if under := m.defaultUnder(); under != "" {
		if rest, ok := strings.CutPrefix(path, under+"/"); ok {
			return m.options.Default, rest, true
		}
	}
	return "", "", false
}
