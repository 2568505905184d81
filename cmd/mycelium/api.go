package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/observer"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
)

// openAPI makes the API that the configuration wants, in the place of the one
// that there is. keys are the configuration's. What a key has opened that is
// not among them closes.
func (d *daemon) openAPI(cfg *config.Config, keys []httpapi.Key) error {
	if !cfg.API.Enabled {
		return nil
	}
	before := d.api.Load()
	keys = d.keys(keys)
	api, err := httpapi.New(d.instances, httpapi.Options{
		Keys: keys, KeyHint: d.keyHint(), PublicURL: cfg.API.PublicURL, ShowAuth: shownAuth, Logger: &d.log, Before: before,
	})
	if err != nil {
		return err
	}
	d.api.Store(api)
	if before != nil {
		return d.observer.Recheck()
	}
	d.observer, err = observer.New(d.endpoint, d.instances, observer.Options{
		Allow:  func(r *http.Request) (string, error) { return d.api.Load().Allow(r, httpapi.Read) },
		Holds:  func(keyID string) bool { return d.api.Load().Holds(keyID, httpapi.Read) },
		Logger: &d.log,
	})
	return err
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

// withAPI serves the API and the observer beside rest. http.ServeMux would send requests with
// unusual paths elsewhere before the API can say what is wrong with them.
type withAPI struct {
	d    *daemon
	rest http.Handler
}

// ServeHTTP implements http.Handler.
func (h withAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

// apiKeys are the keys of the configuration.
func apiKeys(cfg *config.Config) ([]httpapi.Key, error) {
	keys := make([]httpapi.Key, len(cfg.APIKeys))
	for i, text := range cfg.APIKeys {
		if err := strictjson.Decode(text, &keys[i]); err != nil {
			return nil, fmt.Errorf("api.keys[%d]: %w", i, err)
		}
		if err := keys[i].Validate(); err != nil {
			return nil, fmt.Errorf("api.keys[%d]: %w", i, err)
		}
	}
	return keys, nil
}

// declaredSpecs are the instances of the configuration, the default one among
// them.
func declaredSpecs(cfg *config.Config) ([]instances.Spec, error) {
	specs := []instances.Spec{defaultSpec(cfg)}
	seen := map[string]bool{defaultInstance: true}
	for i, text := range cfg.Instances {
		var spec instances.Spec
		if err := strictjson.Decode(text, &spec); err != nil {
			return nil, fmt.Errorf("instances[%d]: %w", i, err)
		}
		switch {
		case spec.ID == "":
			return nil, fmt.Errorf("instances[%d]: id is needed: clients connect at %s/ID", i, cfg.Path)
		case seen[spec.ID]:
			return nil, fmt.Errorf("instances[%d]: there is an instance %q before it", i, spec.ID)
		}
		seen[spec.ID] = true
		specs = append(specs, spec)
	}
	return specs, nil
}

// declare starts the instances of the configuration that are not there yet and
// returns the others. An error is of those that it names.
func (d *daemon) declare(ctx context.Context, specs []instances.Spec) (present []instances.Spec, err error) {
	for _, spec := range specs {
		if _, getErr := d.instances.Get(spec.ID); getErr == nil {
			present = append(present, spec)
		} else if _, declareErr := d.instances.Declare(ctx, spec); declareErr != nil {
			err = errors.Join(err, ofConfiguration(spec.ID, declareErr))
		}
	}
	return present, err
}

// checkDeclared says what m would refuse of the configuration's instances.
func checkDeclared(m *instances.Manager, l config.Limits, specs []instances.Spec) (err error) {
	for _, spec := range specs {
		wrong := m.CheckWithin(limits(l), spec)
		if i, getErr := m.Get(spec.ID); wrong == nil && getErr == nil && !i.Declared {
			wrong = errors.New("there is one of this id already, created by the API: delete it, or choose another id")
		}
		if wrong != nil {
			err = errors.Join(err, ofConfiguration(spec.ID, wrong))
		}
	}
	return err
}

// checkAlone is checkDeclared without a server.
func checkAlone(cfg *config.Config, specs []instances.Spec) (err error) {
	endpoint, err := channels.NewEndpoint(channels.Options{Loops: 1})
	if err != nil {
		return err
	}
	m := instances.New(endpoint, instances.Options{
		Limits: instanceLimits(cfg.Limits),
		Sockets: func(spec instances.Spec) (o channels.SocketOptions, release func(), err error) {
			_, err = specAuth(spec.Auth, cfg.API.PrivateJWKS) // and no verifier: that would fetch keys
			return o, nil, err
		},
	})
	register(m)
	ctx := context.Background() // nobody is connected
	return errors.Join(checkDeclared(m, cfg.Limits, specs), m.Close(ctx), endpoint.Shutdown(ctx))
}

func ofConfiguration(id string, err error) error {
	return fmt.Errorf("instance %q of the configuration: %w", id, err)
}
