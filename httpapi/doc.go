// Package httpapi is the HTTP interface to instances, at /api: create, look,
// change, delete, publish. Its document is served at /api/openapi.json.
//
// A program that runs instances of types of its own mounts it beside whatever
// else it serves:
//
//	mux := http.NewServeMux()
//	endpoint, err := channels.NewEndpoint(channels.Options{Handler: mux})
//	manager := instances.New(endpoint, instances.Options{Store: store})
//	// manager.Register(…), manager.Open(…)
//	api, err := httpapi.New(manager, httpapi.Options{Keys: keys})
//	mux.Handle(httpapi.Prefix+"/", api)
//
// Every error is a problem (RFC 9457) that says what was wrong and what would
// be right. Who may do what is decided by keys alone: see [Key]. It does not
// matter where a request comes from.
package httpapi
