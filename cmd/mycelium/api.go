package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/front"
	internalhooks "github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// openAPI replaces the API with one for a configuration, whose keys are given.
// Pages that were opened with a key that is no longer valid are closed.
func (d *daemon) openAPI(cfg *config.Config, keys []httpapi.Key) error {
	if !cfg.API.Enabled {
		return nil
	}
	before := d.api.Load()
	keys = d.keys(keys)
	api, err := httpapi.New(d.instances, httpapi.Options{
		Keys: keys, KeyHint: d.keyHint(), PublicURL: cfg.API.PublicURL, ShowAuth: shownAuth, ShowHooks: hooks.Redact, Deciders: d.deciders.current,
		MaxBatch: cfg.API.MaxBatch, Revocations: d.revocations, Logger: &d.log, Before: before,
		Forward: d.forwardCall, Peers: d.apiPeers, Caller: front.CallerOf, Latest: d.api.Load,
		Node: d.cluster.nodeName(), IdempotencyFile: d.idempotencyFile(),
	})
	if err != nil {
		return err
	}
	internalhooks.TellEvents(api, d.events)
	d.api.Store(api)
	if before != nil {
		return d.observer.Recheck()
	}
	d.observer, err = observer.New(d.endpoint, d.instances, observer.Options{
		Allow:   func(r *http.Request) (string, error) { return d.api.Load().Allow(r, httpapi.Read) },
		Holds:   func(keyID string) bool { return d.api.Load().Holds(keyID, httpapi.Read) },
		Nodes:   observer.Nodes{View: d.cluster.view, Version: version(), Sockets: func() int64 { return d.endpoint.Stats().Sockets }},
		History: d.history.Stats,
		Hooks:   d.watchedHooks,
		Logger:  &d.log,
	})
	return err
}

// idempotencyFile returns where the API keeps idempotency keys, "" without data.
func (d *daemon) idempotencyFile() string {
	if d.cfg.Data == "" {
		return ""
	}
	return filepath.Join(d.cfg.Data, "idempotency")
}

// closeAPI closes what the API keeps.
func (d *daemon) closeAPI() error {
	if api := d.api.Load(); api != nil {
		return api.Close()
	}
	return nil
}

// mayWatch reports whether a request has an API key that may see everything.
func (d *daemon) mayWatch(r *http.Request) bool {
	api := d.api.Load()
	if api == nil {
		return false
	}
	_, err := api.Allow(r, httpapi.Read)
	return err == nil
}

// withAPI serves the API, the observer, and what types serve over HTTP, in front of rest. http.ServeMux would
// redirect requests with unusual paths before the API could say what is wrong
// with them.
type withAPI struct {
	d      *daemon
	socket string // the socket's path, which does not change; d.cfg may
	rest   http.Handler
}

// ServeHTTP implements http.Handler.
func (h withAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if typed := h.typeHandler(r.URL.EscapedPath()); typed != nil {
		typed.ServeHTTP(w, r)
		return
	}
	if api := h.d.api.Load(); api != nil && strings.HasPrefix(r.URL.Path, httpapi.Prefix+"/") {
		api.ServeHTTP(w, r)
		return
	}
	if b := h.d.observer; b != nil && (r.URL.Path == observer.Path || strings.HasPrefix(r.URL.Path, observer.Path+"/")) {
		b.ServeHTTP(w, r)
		return
	}
	h.rest.ServeHTTP(w, r)
}

// declare starts the instances of the configuration that do not exist yet, and
// returns the others. An error names the instances that failed.
func (d *daemon) declare(ctx context.Context, specs []instances.Spec) (present []instances.Spec, err error) {
	for _, spec := range specs {
		if _, getErr := d.instances.Get(spec.ID); getErr == nil {
			present = append(present, spec)
		} else if _, declareErr := d.instances.Declare(ctx, spec); declareErr != nil {
			err = errors.Join(err, fmt.Errorf("instance %q of the configuration: %w", spec.ID, declareErr))
		}
	}
	return present, err
}
