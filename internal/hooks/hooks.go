// Package hooks gives other packages of this module access to what package
// channels does not export, because applications have no use for it. Package
// channels sets each hook when the program starts.
//
// The types of channels cannot be named here, since channels imports this package.
// Each hook says what its values of type any are.
package hooks

import "net"

// TellEvents has an API, an *httpapi.API, serve events. told is an *events.Events. It is
// called before the API serves.
var TellEvents func(api, told any)

// AfterJoin has a channel, a *channels.Context that is in its join callback, call f once its client is subscribed, before
// it handles messages of the client, and not if the join is refused. An error of f is logged.
var AfterJoin func(channel any, f func() error) error

// OwnStats returns the counters of an endpoint without those of its guests. It takes
// a *channels.Endpoint and returns a channels.Stats. For a host, these include what
// was refused before the endpoint knew which guest was meant.
var OwnStats func(endpoint any) any

// ServeForwarded makes an endpoint, a *channels.Endpoint, one of several that forward
// clients to each other. node is its *forward.Node, id what the other nodes find it by,
// and l a listener of the node, which belongs to the endpoint from then on. It is
// called once, before the endpoint listens.
var ServeForwarded func(endpoint, node any, id uint64, l net.Listener) error
