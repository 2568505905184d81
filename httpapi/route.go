package httpapi

import (
	"net/url"
	"slices"
	"strings"
)

// route is a path of the API with its operations.
type route struct {
	path       string
	segments   []string
	operations []operation
}

// routesOf groups operations by path.
func routesOf(operations []operation) (routes []route) {
	for _, o := range operations {
		i := slices.IndexFunc(routes, func(r route) bool { return r.path == o.path })
		if i < 0 {
			i = len(routes)
			routes = append(routes, route{path: o.path, segments: strings.Split(o.path, "/")})
		}
		routes[i].operations = append(routes[i].operations, o)
	}
	return routes
}

const idSegment = "{id}"

// match returns the id in a path, split before it was unescaped: an id with a
// slash is an unknown id, not another path.
func (r *route) match(parts []string) (id string, ok bool) {
	if len(parts) != len(r.segments) {
		return "", false
	}
	for i, want := range r.segments {
		if want != idSegment {
			if parts[i] != want {
				return "", false
			}
			continue
		}
		var err error
		if id, err = url.PathUnescape(parts[i]); err != nil || id == "" {
			return "", false
		}
	}
	return id, true
}

// operation returns the one of a method, nil if there is none.
func (r *route) operation(method string) *operation {
	for i := range r.operations {
		if r.operations[i].method == method {
			return &r.operations[i]
		}
	}
	return nil
}

// allow returns the methods that the path takes, as the header Allow has them.
func (r *route) allow() string {
	methods := make([]string, len(r.operations))
	for i, o := range r.operations {
		methods[i] = o.method
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// hasID reports whether the path has an instance's id.
func (r *route) hasID() bool { return slices.Contains(r.segments, idSegment) }

// isPublic reports whether a caller without a key may know of the path.
func (r *route) isPublic() bool {
	return slices.ContainsFunc(r.operations, func(o operation) bool { return o.scope == public })
}

// find returns the route of a path and the id in it; nil if there is none.
func (a *API) find(u *url.URL) (found *route, id string) {
	parts := strings.Split(u.EscapedPath(), "/")
	for i := range a.routes {
		if id, ok := a.routes[i].match(parts); ok {
			return &a.routes[i], id
		}
	}
	return nil, ""
}
