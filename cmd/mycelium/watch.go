package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/internal/site"
)

// watched is the daemon as a metrics.Source. Its methods are safe from any
// goroutine.
type watched struct{ d *daemon }

// Ready implements metrics.Source.
func (w watched) Ready() error {
	if w.d.stopping.Load() {
		return channels.ErrDraining
	}
	if err := w.d.cluster.ready(); err != nil {
		return err
	}
	if err := w.d.durable.ready(); err != nil {
		return err
	}
	if !w.d.listening.Load() { // the port of metrics is open before the others
		return errStarting
	}
	return w.d.endpoint.Ready()
}

var errStarting = errors.New("starting")

// Cluster implements metrics.ClusterSource.
func (w watched) Cluster() *membership.View { return w.d.cluster.view() }

// Server implements metrics.Source.
func (w watched) Server() channels.Stats { return hooks.OwnStats(w.d.endpoint).(channels.Stats) }

// History implements metrics.HistorySource.
func (w watched) History() history.Stats { return w.d.history.Stats() }

// LogDropped implements metrics.Source.
func (w watched) LogDropped() int64 { return w.d.output.Dropped() }

// Types implements metrics.Source.
func (w watched) Types() []metrics.Type {
	var types []metrics.Type
	for _, t := range w.d.instances.Totals() {
		states := map[string]int{}
		for state, n := range t.Instances {
			states[string(state)] = n
		}
		types = append(types, metrics.Type{
			Name: t.Type, Instances: states, Restarts: t.Restarts, Crashes: t.Crashes, Stats: t.Stats, Presence: t.Presence,
		})
	}
	return types
}

func (d *daemon) access(m config.Metrics) metrics.Access {
	return metrics.Access{Networks: m.Networks(), Token: m.Token, Key: d.mayWatch}
}

// mux returns the handler of the main port's requests that are not for a
// socket.
func (d *daemon) mux() *http.ServeMux {
	mux := d.healthMux()
	mux.Handle("/", site.Handler(d.cfg.Path))
	if d.cfg.Metrics.Listen == "" {
		mux.Handle("/metrics", d.metrics)
	}
	return mux
}

func (d *daemon) healthMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", metrics.Health)
	mux.HandleFunc("/readyz", metrics.Ready(watched{d}.Ready))
	return mux
}

// watchTimeout bounds a request on the metrics port.
const watchTimeout = 10 * time.Second

// listenForMetrics serves the metrics on their own port, if there is one, until
// stop is called after the drain, so that the drain can be watched.
func (d *daemon) listenForMetrics() (stop func() error, err error) {
	if d.cfg.Metrics.Listen == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", d.cfg.Metrics.Listen)
	if err = inUse(err, "metrics.listen"); err != nil {
		return nil, err
	}
	mux := d.healthMux()
	mux.Handle("/metrics", d.metrics)
	server := &http.Server{
		Handler: mux, ErrorLog: logging.ErrorLog(logging.NewLog(&d.log)),
		ReadTimeout: watchTimeout, WriteTimeout: watchTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: d.cfg.Limits.HeaderBytes,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	d.log.Info().Stringer("addr", listener.Addr()).Msg("metrics")
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil { // a scrape that is not read
			err = server.Close()
		}
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}, nil
}
