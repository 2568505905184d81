package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/compat_tests/chart"
	"github.com/mycelium-rt/mycelium/internal/bench"
)

// plot is a diagram of how a cost grows, and how to measure it.
type plot struct {
	name    string // of its files
	chart   chart.Chart
	servers []int  // one curve for each
	fresh   bool   // each point needs a new server
	args    string // of mycelium bench; %[1]d is x
	cost    func(*bench.Report) float64
}

var plots = []plot{
	{
		name: "connections", servers: []int{relayServer, labServer}, fresh: true,
		chart: chart.Chart{
			Title: "Resident memory by connections, joined and idle", XName: "connections", YName: "MB, the server's whole process",
			XTicks: []float64{1000, 2000, 4000, 8000, 16000},
		},
		args: "idle --connections=%[1]d --duration=100ms --settle=2s", cost: func(r *bench.Report) float64 { return float64(r.Server.RSSJoined) / 1e6 },
	},
	{
		name: "topics", servers: []int{relayServer},
		chart: chart.Chart{
			Title: "CPU per delivery by topics, 10 subscribers each, 20,000 deliveries a second in all", XName: "topics", YName: "µs",
			XTicks: []float64{1, 10, 100, 1000},
		},
		args: "broadcast --topics=%[1]d --connections=%[1]d0 --topic=room:{n} --event=shout --rate=2000 --duration=1500ms " +
			`--publisher-payload={"self":false}`,
		cost: perUnit,
	},
	{
		name: "subscribers", servers: []int{yardstick, relayServer, labServer},
		chart: chart.Chart{
			Title: "CPU per delivery by subscribers of a topic, one publication after the other", XName: "subscribers", YName: "µs",
			XTicks: []float64{1, 10, 100, 1000, 10000}, LogY: true,
		},
		args: "broadcast --connections=%[1]d --event=shout --duration=1500ms", cost: perUnit,
	},
	{
		name: "size", servers: []int{yardstick, relayServer, labServer},
		chart: chart.Chart{
			Title: "CPU per delivery by size of the payload, 1,000 subscribers", XName: "bytes", YName: "µs",
			XTicks: []float64{16, 64, 256, 1024, 4096, 16384, 65536}, LogY: true,
		},
		args: "broadcast --connections=1000 --size=%[1]d --event=shout --duration=1s", cost: perUnit,
	},
}

// plotTurns is how many times each point is measured.
const plotTurns = 3

// drawPlots measures the plots with these names, or all plots if names is empty, and writes
// the diagram and the figures of each to dir.
func drawPlots(ctx context.Context, dir string, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(plots, func(p plot) bool { return p.name == name }) {
			return fmt.Errorf("no plot %q; the plots are connections, topics, subscribers and size", name)
		}
	}
	set, err := buildServers(ctx, true, "--limits-messages-per-second=0", "--limits-heartbeats-per-second=0") // a single socket publishes for thousands
	if err != nil {
		return err
	}
	defer set.close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range plots {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, p.name)
		if err := p.measure(ctx, set); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := p.write(dir); err != nil {
			return err
		}
	}
	return nil
}

// measure fills in the curves. It measures all points of a turn before the next turn.
func (p *plot) measure(ctx context.Context, set *servers) error {
	costs := map[int]map[float64][]float64{} // by server and x
	for range plotTurns {
		for _, x := range p.chart.XTicks {
			for _, k := range p.servers {
				if p.fresh {
					if err := set.restart(k); err != nil {
						return err
					}
				}
				srv := set.all[k]
				mode, flags, _ := strings.Cut(fmt.Sprintf(p.args, int(x)), " ")
				// The last flag wins, which is the plot's.
				report, err := drive(ctx, srv, append([]string{mode, "--topic=" + srv.topic}, strings.Fields(flags)...)...)
				if err != nil {
					return err
				}
				if costs[k] == nil {
					costs[k] = map[float64][]float64{}
				}
				costs[k][x] = append(costs[k][x], p.cost(report))
				fmt.Fprintf(os.Stderr, "  %8.0f %-10s %9.2f\n", x, srv.name, p.cost(report))
			}
		}
	}
	p.chart.Curves = nil
	for _, k := range p.servers {
		c := chart.Curve{Name: curveNames[k]}
		for _, x := range p.chart.XTicks {
			v := valueOf(costs[k][x])
			c.Points = append(c.Points, chart.Point{X: x, Y: v.median, Least: v.least, Most: v.most})
		}
		p.chart.Curves = append(p.chart.Curves, c)
	}
	return nil
}

var curveNames = [serverCount]string{"C yardstick", "mycelium serve", "labapp (library)"}

// write writes the diagram and its points.
func (p *plot) write(dir string) error {
	p.chart.LogX, p.chart.XText = true, func(x float64) string { return fmt.Sprintf("%.0f", x) }
	if err := os.WriteFile(filepath.Join(dir, p.name+".svg"), []byte(p.chart.SVG()), 0o644); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s,server,median,least,most\n", p.chart.XName)
	for _, c := range p.chart.Curves {
		for _, q := range c.Points {
			fmt.Fprintf(&b, "%.0f,%s,%.2f,%.2f,%.2f\n", q.X, c.Name, q.Y, q.Least, q.Most)
		}
	}
	return os.WriteFile(filepath.Join(dir, p.name+".csv"), []byte(b.String()), 0o644)
}
