package metrics

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collector reads the table's values from a source.
type collector struct {
	source   Source
	families []family
	descs    []*prometheus.Desc // of families, by index
	ofOne    bool               // all metrics have the same value of the label type

	histograms     []histogram
	histogramDescs []*prometheus.Desc // of histograms, by index
}

// typeLabel is the name of the label with the type of an instance. In families that have it, it
// is the first.
const typeLabel = "type"

// newCollector returns a collector. If one is not empty, that is the value of the label type of
// all metrics, even of those that do not have the label otherwise.
func newCollector(source Source, families []family, one string) *collector {
	c := &collector{source: source, families: families, ofOne: one != ""}
	var constant prometheus.Labels
	if c.ofOne {
		constant = prometheus.Labels{typeLabel: one}
	}
	for _, f := range families {
		labels := f.labels
		if c.ofOne && f.hasType() {
			labels = labels[1:]
		}
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, labels, constant))
	}
	if _, ok := source.(HooksSource); ok {
		c.histograms = histograms
	}
	for _, h := range c.histograms {
		c.histogramDescs = append(c.histogramDescs, prometheus.NewDesc(h.name, h.help, h.labels, nil))
	}
	return c
}

// ForEndpoint returns a collector for an endpoint that does not serve
// instances: the families of its loops and of one Type, all with its name as
// the label type, so that collectors of several endpoints can share a registry.
// It does not call Ready and LogDropped of the source.
func ForEndpoint(source Source, name string) prometheus.Collector {
	_, records := source.(HistorySource)
	_, hasHooks := source.(HooksSource)
	return newCollector(source, slices.DeleteFunc(slices.Clone(families), func(f family) bool {
		return ofServer[f.name] || strings.HasPrefix(f.name, clusterPrefix) || !records && strings.HasPrefix(f.name, historyPrefix) ||
			!hasHooks && (strings.HasPrefix(f.name, hookPrefix) || strings.HasPrefix(f.name, eventPrefix))
	}), name)
}

// newRegistry returns a registry with the metrics of the server, the Go runtime
// and the process.
func newRegistry(source Source, version string) *prometheus.Registry {
	c := newCollector(source, families, "")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: buildInfo, Help: "1, with the version of the server.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

const buildInfo = "mycelium_build_info"

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range slices.Concat(c.descs, c.histogramDescs) {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	s := &snapshot{source: c.source, server: c.source.Server(), types: c.source.Types()}
	if n, ok := c.source.(ClusterSource); ok {
		s.cluster = n.Cluster()
	}
	if h, ok := c.source.(HistorySource); ok {
		stats := h.History()
		s.history = &stats
	}
	if h, ok := c.source.(HooksSource); ok {
		hooks := h.Hooks()
		s.hooks = &hooks
	}
	for i, f := range c.families {
		unit := 1.0
		if strings.HasSuffix(f.name, "_seconds") {
			unit = float64(time.Second)
		}
		f.read(s, func(value int64, labels ...string) {
			if c.ofOne && f.hasType() {
				if labels[0] == "" {
					return // these count clients that were refused before their instance was known; without instances there are none
				}
				labels = labels[1:]
			}
			metrics <- prometheus.MustNewConstMetric(c.descs[i], f.kind, float64(value)/unit, labels...)
		})
	}
	for i, h := range c.histograms {
		h.read(s, func(value *Histogram, labels ...string) {
			count, buckets := value.cumulative()
			metrics <- prometheus.MustNewConstHistogram(c.histogramDescs[i], count, value.Sum.Seconds(), buckets, labels...)
		})
	}
}

// Markdown returns the reference of the server's own metrics: one table.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, kinds[f.kind], strings.Join(f.labels, ", "), f.help)
	}
	for _, h := range histograms {
		fmt.Fprintf(&b, "| `%s` | histogram | %s | %s |\n", h.name, strings.Join(h.labels, ", "), h.help)
	}
	fmt.Fprintf(&b, "| `%s` | gauge | version | 1, with the version of the server. |\n", buildInfo)
	return b.String()
}

var kinds = map[prometheus.ValueType]string{gauge: "gauge", counter: "counter"}
