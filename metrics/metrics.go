// Package metrics gives a program that embeds package channels its counters in
// the form of Prometheus: how many sockets and channels there are, what comes and
// goes, what is refused and why, under the names that the server itself uses
// (docs/metrics.md). It is a package of its own, so that programs without
// Prometheus do not carry it.
//
//	m := metrics.New(endpoint, metrics.Options{})
//	prometheus.MustRegister(m)
//	room.Use(m.Middleware)
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/presence"
)

// Options of a [Collector]. The zero value is usable.
type Options struct {
	// Name is the value of the label type, which tells several endpoints of a program
	// apart. Default "app".
	Name string
	// Presence are the trackers whose topics and keys are counted. Reading them goes
	// through all topics with presence.
	Presence []*presence.Tracker
	// Buckets are those of the handlers' durations, in seconds. Default
	// prometheus.DefBuckets.
	Buckets []float64
}

// Collector is a prometheus.Collector of one endpoint. The endpoint counts anyway;
// its counters are read when the collector is asked. Register one for each
// endpoint; those of a registry need names of their own.
type Collector struct {
	counters prometheus.Collector
	handlers *prometheus.HistogramVec
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns the collector of an endpoint, with its guests.
func New(e *channels.Endpoint, o Options) *Collector {
	if o.Name == "" {
		o.Name = "app"
	}
	if o.Buckets == nil {
		o.Buckets = prometheus.DefBuckets
	}
	return &Collector{
		counters: metrics.ForEndpoint(source{e, o}),
		handlers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "mycelium_handler_duration_seconds",
			Help:        "How long handlers of joins (phx_join) and events took, by the patterns they were registered for. Outcome: ok, error, none (no reply), other (a status of the application's), panic.",
			ConstLabels: prometheus.Labels{"type": o.Name},
			Buckets:     o.Buckets,
		}, []string{"channel", "event", "outcome"}),
	}
}

// Middleware times the joins and events of a channel, for
// mycelium_handler_duration_seconds: give it to [channels.Channel.Use]. Labels are
// what the program registered, never what clients choose.
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
