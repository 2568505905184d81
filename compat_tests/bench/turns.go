package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

// figure is a cost of a server process.
type figure struct {
	name  string
	limit float64 // of the ratio; 0 if there is none
	// toItself names the figure of the same server and turn to divide by. If it is empty,
	// the ratio is to the yardstick.
	toItself string
	args     string // of mycelium bench
	quick    string // the same for a quick run
	cost     func(*bench.Report) float64
	// byChannel sends requests to a channel, with the flags server.echo.
	byChannel bool
	// against are flags with which the same figure is measured on mycelium serve in the same
	// turn, to divide by. other are the flags of the figure itself.
	against, other string
	// often multiplies the turns of a figure that is short and varies a lot.
	often int
}

const oneOutstanding = "CPU per delivery, one publication outstanding, to the yardstick"

var figures = []figure{
	{
		name: oneOutstanding, limit: 1.10,
		args:  "broadcast --event=shout --connections=10000 --messages=25",
		quick: "broadcast --event=shout --connections=5000 --messages=40", cost: perUnit,
	},
	{
		name: "the same with 16 outstanding, to itself with one", limit: 0.12, toItself: oneOutstanding,
		args:  "broadcast --event=shout --connections=10000 --messages=160 --window=16",
		quick: "broadcast --event=shout --connections=5000 --messages=160 --window=16", cost: perUnit,
	},
	{
		name: "CPU per delivery at 40,000 a second, to the yardstick", limit: 1.5,
		args:  "broadcast --event=shout --connections=1000 --rate=40 --duration=3s",
		quick: "broadcast --event=shout --connections=1000 --rate=40 --duration=2s", cost: perUnit,
	},
	{
		name: "CPU per echo, to the yardstick", limit: 1.15,
		args:  "echo --connections=1000 --duration=1s",
		quick: "echo --connections=1000 --duration=1s", cost: perUnit, often: 3,
	},
	{
		name:  "the same for an event that a channel replies to",
		args:  "echo --connections=1000 --duration=1s",
		quick: "echo --connections=1000 --duration=1s", cost: perUnit, byChannel: true,
	},
	{
		name: "CPU per connect and join, to the yardstick", limit: 1.5,
		args:  "join --connections=8000",
		quick: "join --connections=5000", often: 2, cost: perJoin,
	},
	{
		name: "CPU per message that its sender alone gets, if it is recorded, to one that is not", limit: 1.15,
		args:  "echo --connections=1000 --duration=1s",
		quick: "echo --connections=1000 --duration=1s", cost: perUnit, byChannel: true,
		against: "--join-payload={}", other: "--join-payload={} --topic=" + recordedTopic, often: 3,
	},
	{
		name: "the same with 16 outstanding", limit: 1.5,
		args:  "echo --connections=200 --depth=16 --duration=1s",
		quick: "echo --connections=200 --depth=16 --duration=1s", cost: perUnit, byChannel: true,
		against: "--join-payload={} --topics=200", other: "--join-payload={} --topics=200 --topic=" + recordedTopic, often: 3,
	},
	{
		name:  "CPU per delivery over TLS, to one in clear",
		args:  "broadcast --event=shout --connections=1000 --rate=40 --duration=3s",
		quick: "broadcast --event=shout --connections=1000 --rate=40 --duration=2s", cost: perUnit,
		against: "--insecure=false", other: overTLS,
	},
	{
		name:  "CPU per connect and join over TLS, to one in clear",
		args:  "join --connections=4000",
		quick: "join --connections=2000", cost: perJoin,
		against: "--insecure=false", other: overTLS,
	},
	{
		name:  "the same if the TLS session is resumed",
		args:  "join --connections=4000",
		quick: "join --connections=2000", cost: perJoin,
		against: "--insecure=false", other: overTLS + " --tls-resume",
	},
	{
		name:  "CPU per delivery over raw TCP, to one over WebSocket",
		args:  "broadcast --event=shout --connections=1000 --rate=40 --duration=3s",
		quick: "broadcast --event=shout --connections=1000 --rate=40 --duration=2s", cost: perUnit,
		against: "--tcp=false", other: overTCP,
	},
	{
		name:  "CPU per echo over raw TCP, to one over WebSocket",
		args:  "echo --connections=1000 --duration=1s",
		quick: "echo --connections=1000 --duration=1s", cost: perUnit,
		against: "--tcp=false", other: overTCP, often: 2,
	},
	{
		name:  "CPU per connect and join over raw TCP, to one over WebSocket",
		args:  "join --connections=4000",
		quick: "join --connections=2000", cost: perJoin,
		against: "--tcp=false", other: overTCP,
	},
}

// overTCP is the flag of a figure whose connections speak raw TCP.
const overTCP = "--tcp"

// overTLS is the flag of a figure whose connections have TLS.
const overTLS = "--insecure"

func perJoin(r *bench.Report) float64 { return r.Server.CPUPerJoin }

func perUnit(r *bench.Report) float64 { return r.Server.CPUPerUnit }

// costs has the results of a figure in µs, for each server and turn.
type costs struct {
	figure  *figure
	of      [serverCount][]float64
	against []float64 // what mycelium serve costs with the flags figure.against
}

// measureTurns measures each figure on one server after the other, several times, so that
// changes of the machine affect all servers.
func measureTurns(ctx context.Context, set *servers, s settings) ([]*costs, error) {
	raw := io.Discard
	if s.raw != "" {
		file, err := os.Create(s.raw)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		raw = file
	}
	chosen := chosenFigures(s.only)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only %s matches no figure; the figures are %q", s.only, names(figures))
	}
	all := make([]*costs, len(chosen))
	for i, f := range chosen {
		all[i] = &costs{figure: f}
		fmt.Fprintf(os.Stderr, "%s\n", f.name)
		for turn := range s.turns * max(1, f.often) {
			for _, k := range order(turn) {
				srv := set.all[k]
				if k == yardstick && f.toItself != "" || k != relayServer && f.against != "" {
					continue
				}
				if err := all[i].measure(ctx, srv, k, turn, s.quick, raw); err != nil {
					return nil, fmt.Errorf("%s, %s, turn %d: %w", f.name, srv.name, turn+1, err)
				}
			}
		}
	}
	return all, nil
}

// measure measures the figure of a server once, and what it is measured against: in every
// other turn first.
func (c *costs) measure(ctx context.Context, srv *server, k, turn int, quick bool, raw io.Writer) error {
	add := func(to *[]float64, flags string) error {
		cost, err := measure(ctx, srv, c.figure, flags, quick, raw)
		if err == nil {
			fmt.Fprintf(os.Stderr, "  %-10s %8.2f µs\n", srv.name, cost)
			*to = append(*to, cost)
		}
		return err
	}
	if c.figure.against == "" {
		return add(&c.of[k], "")
	}
	if turn%2 == 1 {
		if err := add(&c.of[k], c.figure.other); err != nil {
			return err
		}
		return add(&c.against, c.figure.against)
	}
	if err := add(&c.against, c.figure.against); err != nil {
		return err
	}
	return add(&c.of[k], c.figure.other)
}

// order returns the order of the servers in a turn. It is reversed in every other turn, so
// that a machine that gets slower or faster favours none of them.
func order(turn int) []int {
	all := make([]int, serverCount)
	for k := range all {
		all[k] = k
		if turn%2 == 1 {
			all[k] = serverCount - 1 - k
		}
	}
	return all
}

// chosenFigures returns the figures whose names match, and those that they are divided by.
func chosenFigures(only *regexp.Regexp) (chosen []*figure) {
	needed := make(map[string]bool)
	for _, f := range figures {
		if only.MatchString(f.name) {
			needed[f.name], needed[f.toItself] = true, true
		}
	}
	for i := range figures {
		if needed[figures[i].name] {
			chosen = append(chosen, &figures[i])
		}
	}
	return chosen
}

func names(all []figure) (names []string) {
	for _, f := range all {
		names = append(names, f.name)
	}
	return names
}

// measure measures a figure of a server once, with more flags.
func measure(ctx context.Context, srv *server, f *figure, flags string, quick bool, raw io.Writer) (float64, error) {
	args := f.args
	if quick {
		args = f.quick
	}
	all := append(strings.Fields(args), "--topic="+srv.topic)
	if f.byChannel {
		all = append(all, srv.echo...)
	}
	all = append(all, strings.Fields(flags)...)
	report, err := drive(ctx, srv, all...)
	if err != nil {
		return 0, err
	}
	line := struct {
		Server string
		Args   string
		*bench.Report
	}{srv.name, args, report}
	return f.cost(report), json.NewEncoder(raw).Encode(line)
}

// drive runs mycelium bench on a server.
func drive(ctx context.Context, srv *server, args ...string) (*bench.Report, error) {
	scheme, addr := "ws", srv.addr
	if slices.Contains(args, overTCP) {
		addr = srv.tcp
	}
	if slices.Contains(args, overTLS) {
		scheme = "wss"
	}
	common := []string{scheme + "://" + addr + "/socket", fmt.Sprintf("--pid=%d", srv.cmd.Process.Pid), "--settle=300ms"}
	args = slices.Insert(args, 1, common...) // after the mode; the caller's flags come last and win
	o, err := bench.Parse(args)
	if err != nil {
		return nil, err
	}
	report, err := bench.Run(ctx, o, nil, os.Stderr)
	if err != nil {
		return nil, err
	}
	if !report.OK {
		var text strings.Builder
		_ = report.WriteText(&text) // a Builder takes everything
		return nil, fmt.Errorf("mycelium bench %s\n%s", strings.Join(args, " "), text.String())
	}
	return report, nil
}

// turnRows returns a row for each figure, with the median of the turns' ratios for each of
// our servers.
func turnRows(all []*costs) []row {
	var rows []row
	for _, c := range all {
		r := row{name: c.figure.name, limited: c.figure.limit > 0, limit: c.figure.limit}
		if c.figure.against != "" {
			r.values = []value{valueOf(ratios(c.of[relayServer], c.against))}
			r.base = fmt.Sprintf("(%.1f µs to %.1f)", median(c.of[relayServer]), median(c.against))
			rows = append(rows, r)
			continue
		}
		for k := yardstick + 1; k < serverCount; k++ {
			base := c.of[yardstick]
			if c.figure.toItself != "" {
				base = find(all, c.figure.toItself).of[k]
			}
			r.values = append(r.values, valueOf(ratios(c.of[k], base)))
		}
		if c.figure.toItself == "" {
			r.base = fmt.Sprintf("%.1f µs", median(c.of[yardstick]))
		}
		rows = append(rows, r)
	}
	return rows
}

// ratios divides costs turn by turn.
func ratios(costs, base []float64) (list []float64) {
	for turn, cost := range costs {
		list = append(list, cost/base[turn])
	}
	return list
}

func find(all []*costs, name string) *costs {
	for _, c := range all {
		if c.figure.name == name {
			return c
		}
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
