//go:build linux

package main

import (
	"fmt"
	"slices"

	"github.com/mycelium-rt/mycelium/compat_tests/chart"
)

// picture draws the run over time: users, messages, latencies, processors and memory.
func (r *result) picture() string {
	var most float64
	for _, s := range r.samples {
		most = max(most, s.at)
	}
	ticks := chart.Ticks(max(most, 1))
	over := func(title, yName string, curves ...chart.Curve) *chart.Chart {
		return &chart.Chart{Title: title, XName: "seconds", YName: yName, XTicks: ticks, XText: chart.Short, Curves: curves}
	}
	line := func(name string, y func(sample) float64) chart.Curve {
		c := chart.Curve{Name: name, Plain: true}
		for _, s := range r.samples {
			c.Points = append(c.Points, chart.Point{X: s.at, Y: y(s)})
		}
		return c
	}
	latencies := over("Latencies, as "+title(r.Tool)+" measures them", "ms", r.curves(ticks[len(ticks)-1])...)
	latencies.LogY = true
	return chart.Grid(2,
		over("Connected users", "users", line("users", func(s sample) float64 { return s.users })),
		over("Messages", "a second", line("sent by the server", func(s sample) float64 { return s.out }), line("received by it", func(s sample) float64 { return s.in })),
		latencies,
		over(fmt.Sprintf("Processors; memory of the server at most %.0f MB, of %s %.0f MB", r.ServerRSS/1e6, title(r.Tool), r.ToolRSS/1e6), "used; 1 is a whole one",
			line("server", func(s sample) float64 { return s.server }),
			line(title(r.Tool), func(s sample) float64 { return s.tool }),
			line("others", func(s sample) float64 { return s.other }),
			line("server's memory, 100 MB", func(s sample) float64 { return s.serverRSS / 1e8 })),
	)
}

// curves returns the latencies over time, up to end.
func (r *result) curves(end float64) (all []chart.Curve) {
	var names []string
	for _, m := range r.series {
		for name := range m.values {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c := chart.Curve{Name: name}
		for _, m := range r.series {
			if v, found := m.values[name]; found && v > 0 && m.at >= 0 && m.at <= end {
				c.Points = append(c.Points, chart.Point{X: m.at, Y: v, Least: v, Most: v})
			}
		}
		if len(c.Points) > 0 {
			all = append(all, c)
		}
	}
	return all
}
