// Package httpapi serves the HTTP API of instances at /api: it creates, lists,
// changes and deletes instances, and broadcasts to their topics. The OpenAPI
// document of the API is at /api/openapi.json.
//
// A program with instances of its own types mounts it next to its other
// handlers:
//
//	mux := http.NewServeMux()
//	endpoint, err := channels.NewEndpoint(channels.Options{Handler: mux})
//	manager := instances.New(endpoint, instances.Options{Store: store})
//	// manager.Register(…), manager.Open(…)
//	api, err := httpapi.New(manager, httpapi.Options{Keys: keys})
//	mux.Handle(httpapi.Prefix+"/", api)
//
// Every error is a [Problem] (RFC 9457), which says what is wrong and what
// would be right. Only the [Key] of a request decides what it may do, not the
// address it comes from.
package httpapi
