// Package metrics exports the counters of package channels to Prometheus, for
// programs that embed it: sockets and channels, messages, and what is refused
// and why. The metrics have the names that the server itself uses, which
// docs/metrics.md lists. Programs that do not import the package do not link
// Prometheus.
//
//	m := metrics.New(endpoint, metrics.Options{})
//	prometheus.MustRegister(m)
//	room.Use(m.Middleware)
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/presence"
)

// Options configure a [Collector]. The zero value is usable.
type Options struct {
	// Name is the value of the label type of all metrics, which tells the
	// endpoints of a program apart. Default "app".
	Name string
	// Presence lists trackers whose topics and keys are counted. Collecting
	// them visits all their topics.
	Presence []*presence.Tracker
	// History is the store of the endpoint's history, whose figures are then collected too.
	History *history.Store
	// Buckets are the buckets of handlers' durations, in seconds. Default
	// prometheus.DefBuckets.
	Buckets []float64
}

// Collector is a prometheus.Collector of one endpoint. It reads the counters of
// the endpoint when it is collected. Register one for each endpoint, with
// different names if they share a registry.
type Collector struct {
	counters prometheus.Collector
	handlers *prometheus.HistogramVec
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a collector of an endpoint and its guests.
func New(e *channels.Endpoint, o Options) *Collector {
	if o.Name == "" {
		o.Name = "app"
	}
	if o.Buckets == nil {
		o.Buckets = prometheus.DefBuckets
	}
	var from metrics.Source = source{e, o}
	if o.History != nil {
		from = recording{source{e, o}}
	}
	return &Collector{
		counters: metrics.ForEndpoint(from, o.Name),
		handlers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "mycelium_handler_duration_seconds",
			Help:        "How long handlers of joins (phx_join) and events took, by the patterns they were registered for. Outcome: ok, error, none (no reply), other (a status of the application's), panic.",
			ConstLabels: prometheus.Labels{"type": o.Name},
			Buckets:     o.Buckets,
		}, []string{"channel", "event", "outcome"}),
	}
}

// Middleware measures the duration of joins and events, for
// mycelium_handler_duration_seconds. Give it to [channels.Channel.Use]. Its
// labels are the patterns that handlers were registered with, not events chosen
// by clients.
func (m *Collector) Middleware(next channels.Handler) channels.Handler {
	return func(c *channels.Context, p channels.Payload) (reply channels.Reply, err error) {
		start, outcome := time.Now(), "panic"
		defer func() {
			m.handlers.WithLabelValues(c.Pattern(), c.EventPattern(), outcome).Observe(time.Since(start).Seconds())
		}()
		reply, err = next(c, p)
		outcome = outcomeOf(reply, err)
		return reply, err
	}
}

// outcomeOf is one of a few words, whatever a handler answers.
func outcomeOf(reply channels.Reply, err error) string {
	switch {
	case err != nil || reply.Status == "error":
		return "error"
	case reply.Status == "":
		return "none"
	case reply.Status == "ok":
		return "ok"
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (m *Collector) Describe(descs chan<- *prometheus.Desc) {
	m.counters.Describe(descs)
	m.handlers.Describe(descs)
}

// Collect implements prometheus.Collector.
func (m *Collector) Collect(values chan<- prometheus.Metric) {
	m.counters.Collect(values)
	m.handlers.Collect(values)
}

// source is an endpoint as the metrics of the server see one of its types.
type source struct {
	endpoint *channels.Endpoint
	options  Options
}

func (s source) Ready() error           { return nil }
func (s source) LogDropped() int64      { return 0 }
func (s source) Server() channels.Stats { return channels.Stats{Network: s.endpoint.Stats().Network} }

// recording is a source with a history.
type recording struct{ source }

// History implements metrics.HistorySource.
func (r recording) History() history.Stats { return r.options.History.Stats() }

func (s source) Types() []metrics.Type {
	t := metrics.Type{Name: s.options.Name, Stats: s.endpoint.Stats()}
	for _, tracker := range s.options.Presence {
		n := tracker.Stats()
		t.Presence.Topics += n.Topics
		t.Presence.Keys += n.Keys
		t.Presence.Bytes += n.Bytes
	}
	return []metrics.Type{t}
}
