// Package observer shows live what a server's instances do, at /observer.
//
// A [Sampler] reads the counters of every instance once a second and keeps the
// rates of the last minutes, so that a newly opened page can show them. The
// page gets them over a channel, and everything else from the HTTP API. It is
// visible to those who may read by the API.
package observer
