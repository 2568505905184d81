// Package observer shows what a server's instances do, live, at /observer.
//
// A [Sampler] looks once a second at what every instance has counted and keeps
// the rates of the last minutes, so that a page that is opened now shows them.
// The page gets them over a channel of the server's own, and asks the HTTP API
// for everything else. Who may see it is who may read by the API.
package observer
