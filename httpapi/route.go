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

// names are what a path names, unescaped.
type names struct{ id, topic, hook string }

// match returns what a path names, split before it was unescaped: an id with a
// slash is an unknown id, not another path.
func (r *route) match(parts []string) (named names, ok bool) {
	if len(parts) != len(r.segments) {
		return names{}, false
	}
	for i, want := range r.segments {
		var into *string
		switch want {
		case parts[i]:
			continue
		case idSegment:
			into = &named.id
		case topicSegment:
			into = &named.topic
		case hookSegment:
			into = &named.hook
		default:
			return names{}, false
		}
		var err error
		if *into, err = url.PathUnescape(parts[i]); err != nil || *into == "" {
			return names{}, false
		}
	}
	return named, true
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

// hasTopic reports whether the path has a topic.
func (r *route) hasTopic() bool { return slices.Contains(r.segments, topicSegment) }

// hasHook reports whether the path has the name of a hook.
func (r *route) hasHook() bool { return slices.Contains(r.segments, hookSegment) }

// isPublic reports whether a caller without a key may know of the path.
func (r *route) isPublic() bool {
	return slices.ContainsFunc(r.operations, func(o operation) bool { return o.scope == public })
}

// find returns the route of a path and what it names; nil if there is none.
func (a *API) find(u *url.URL) (found *route, named names) {
	parts := strings.Split(u.EscapedPath(), "/")
	for i := range a.routes {
		if named, ok := a.routes[i].match(parts); ok {
			return &a.routes[i], named
		}
	}
	return nil, names{}
}
