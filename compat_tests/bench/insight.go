package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// insight is a run of go test that prints internal figures, such as allocations.
type insight struct {
	args    string // of go test
	figures []insideFigure
}

// insideFigure is a figure of an insight. Its pattern has the number in parentheses.
type insideFigure struct {
	name    string
	limit   float64 // negative if there is none
	pattern string
}

var insights = []insight{
	{
		args: "-count=1 -v -run ^TestIdleHeap$/epoll ./channels",
		figures: []insideFigure{
			{"live heap per idle joined connection, bytes", 600, `(\d+) bytes of heap per idle joined connection`},
			{"goroutines of 5,000 idle connections, besides those of none", 0, `(-?\d+) goroutines for`},
		},
	},
	{
		args: "-count=1 -v -run ^TestIdleHeapOverTCP$ ./channels",
		figures: []insideFigure{
			{"live heap per idle joined connection over raw TCP, bytes", 600, `(\d+) bytes of heap per idle joined connection over raw TCP`},
		},
	},
	{
		args: "-count=1 -v -run ^TestScaleTLS$ ./compat_tests/scale",
		figures: []insideFigure{
			{"live heap per idle joined connection with TLS, bytes", 6000, `with TLS: .*heap (\d+) and RSS`},
		},
	},
	{
		args: "-count=1 -v -run ^TestAllocations$/epoll ./channels",
		figures: []insideFigure{
			// A tenth and a fiftieth are for the rest of the process, as in the test.
			{"allocations per relayed message in", 2.1, `([\d.]+) allocations a message in`},
			{"allocations per delivery", 0.02, `([\d.]+) a delivery`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkUserBroadcast$ -benchtime 20x ./channels",
		figures: []insideFigure{
			{"fan-out of Supabase's kind 4, to that of text of version 2", 1.1, `([\d.]+) kind4/text`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkReplay$ -benchtime 50x ./channels",
		figures: []insideFigure{
			{"replay of 100 messages, to their live deliveries", 2, `([\d.]+) replay/live`},
		},
	},
	{
		args: "-count=1 -v -run ^TestMemoryOfAMessage$ ./history",
		figures: []insideFigure{
			{"memory of a recorded message of 100 bytes, beside its own", 100, `of 100 bytes: (\d+) bytes`},
			{"the same of 3,000 bytes", 100, `of 3000 bytes: (\d+) bytes`},
		},
	},
	{
		args: "-count=1 -v -run ^TestIdleHeapOfHistory$ ./channels",
		figures: []insideFigure{
			{"heap of an idle connection for history that is off, bytes", 1, `off: (-?[\d.]+) bytes`},
			{"the same if its client asks for what it missed", 64, `asked: (-?[\d.]+) bytes`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkSubscribeRatio$ -benchtime 300x ./internal/dispatch",
		figures: []insideFigure{
			{"subscribe and unsubscribe at 1,000,000 subscribers, to those at 1", 1.5, `([\d.]+) ratio`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkTrackRatio$ -benchtime 300x ./presence",
		figures: []insideFigure{
			{"presence track in a topic of 100,000 keys, to one of 10", 2, `([\d.]+) track-ratio`},
			{"presence untrack, the same", 2, `([\d.]+) untrack-ratio`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkJoinStorm$ -benchtime 3x ./presence",
		figures: []insideFigure{
			{"10,000 joins in one diff window: diffs, to those without", 0.02, `([\d.]+) diffs-ratio`},
			{"the same: bytes of diffs (docs/performance.md says why not 0.02)", -1, `([\d.]+) bytes-ratio`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkEntries$ -benchtime 500000x ./cluster/natscluster",
		figures: []insideFigure{
			{"processor time of a broadcast to two other nodes, of all three, in batches, ns", 1200, `([\d.]+) cpu-ns/entry`},
		},
	},
	{
		args: "-count=1 -run ^$ -bench ^BenchmarkPaced$ -benchtime 150000x ./cluster/natscluster",
		figures: []insideFigure{
			{"30,000 broadcasts a second to another node: p99 of their way, ms", 1, `([\d.]+) p99-ms`},
		},
	},
}

// insideRows runs all insights.
func insideRows(ctx context.Context) ([]row, error) {
	var rows []row
	for _, in := range insights {
		fmt.Fprintf(os.Stderr, "go test %s\n", in.args)
		text, err := output(ctx, "go", append([]string{"test"}, strings.Fields(in.args)...)...)
		if err != nil {
			return nil, err
		}
		for _, f := range in.figures {
			n, err := number(text, f.pattern)
			if err != nil {
				return nil, fmt.Errorf("go test %s: %w", in.args, err)
			}
			rows = append(rows, row{name: f.name, limited: f.limit >= 0, limit: f.limit, values: []value{{n, n, n}}})
		}
	}
	return rows, nil
}

func number(text, pattern string) (float64, error) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no %q in\n%s", pattern, text)
	}
	return strconv.ParseFloat(m[1], 64)
}
