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

	histograms     []histogram
	histogramDescs []*prometheus.Desc // of histograms, by index
}

func newCollector(source Source, families []family) *collector {
	c := &collector{source: source, families: families}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
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
// instances: the families of its loops and, with the label type, of one Type.
// It does not call Ready and LogDropped of the source.
func ForEndpoint(source Source) prometheus.Collector {
	_, records := source.(HistorySource)
	_, hasHooks := source.(HooksSource)
	return newCollector(source, slices.DeleteFunc(slices.Clone(families), func(f family) bool {
		return ofServer[f.name] || strings.HasPrefix(f.name, clusterPrefix) || !records && strings.HasPrefix(f.name, historyPrefix) ||
			!hasHooks && (strings.HasPrefix(f.name, hookPrefix) || strings.HasPrefix(f.name, eventPrefix))
	}))
}

// newRegistry returns a registry with the metrics of the server, the Go runtime
// and the process.
func newRegistry(source Source, version string) *prometheus.Registry {
	c := newCollector(source, families)
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
