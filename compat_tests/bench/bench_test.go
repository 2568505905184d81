package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/compat_tests/chart"
	"github.com/mycelium-rt/mycelium/internal/bench"
)

// TestFiguresParse checks the command lines of the figures. Otherwise a wrong one would be
// found only after minutes.
func TestFiguresParse(t *testing.T) {
	for _, f := range figures {
		for _, args := range []string{f.args, f.quick} {
			o, err := bench.Parse(append(strings.Fields(args), "ws://127.0.0.1:1/socket"))
			if err != nil {
				t.Errorf("%s: %s: %v", f.name, args, err)
				continue
			}
			if o.Duration > 5*time.Second || o.Connections > 10_000 {
				t.Errorf("%s: %s takes too long", f.name, args)
			}
		}
		for _, flags := range []string{f.against, f.other} {
			address := "ws://127.0.0.1:1/socket"
			if strings.Contains(flags+" ", overTLS+" ") {
				address = "wss://127.0.0.1:1/socket"
			}
			if _, err := bench.Parse(append(strings.Fields(f.args+" "+flags), address)); err != nil {
				t.Errorf("%s: %s: %v", f.name, flags, err)
			}
		}
		if f.toItself != "" && find([]*costs{{figure: &figures[0]}}, f.toItself) == nil {
			t.Errorf("%s is a ratio to %q, which is not an earlier figure", f.name, f.toItself)
		}
	}
	if _, err := bench.Parse(append([]string{"echo", "-c=1000", "ws://127.0.0.1:1/socket"}, relayEcho...)); err != nil {
		t.Error(err)
	}
}

// TestNumber finds figures in the output of go test.
func TestNumber(t *testing.T) {
	const text = `
=== RUN   TestIdleHeap/epoll
    bench_test.go:167: 568 bytes of heap per idle joined connection, 0 goroutines for 5000
    bench_test.go:192: 512 bytes of heap per idle joined connection over raw TCP
    tls_linux_test.go:84: 1000 idle connections with TLS: joined in 1s, 20 goroutines (20 without), heap 4400 and RSS 5900 bytes per connection
    bench_test.go:96: 1.02 allocations a message in, 0.001 a delivery
BenchmarkUserBroadcast-2   	      40	 435486779 ns/op	         1.012 kind4/text
BenchmarkReplay-2   	      50	   1435486 ns/op	         0.5120 replay/live
    history_test.go:322: payloads of 10 bytes: 55 bytes beside them, 0.97 of what is used is counted
    history_test.go:322: payloads of 100 bytes: 57 bytes beside them, 0.97 of what is used is counted
    history_test.go:322: payloads of 3000 bytes: 90 bytes beside them, 0.97 of what is used is counted
    history_bench_linux_test.go:60: off: 0 bytes of heap per idle joined connection
    history_bench_linux_test.go:60: asked: 31 bytes of heap per idle joined connection
BenchmarkSubscribeRatio-2   	     300	    149713 ns/op	         1.009 ratio
BenchmarkTrackRatio-2   	     100	    213 ns/op	         1.053 track-ratio	         1.134 untrack-ratio	         1.061 update-ratio
BenchmarkJoinStorm-2   	       3	  25713 ns/op	         0.6960 bytes-ratio	         0.4615 delivered-ratio	         0.0001000 diffs-ratio
BenchmarkEntries-2   	  300000	      2097 ns/op	      1245 cpu-ns/entry
BenchmarkPaced-2   	   60000	     33386 ns/op	      4580 cpu-ns/entry	         0.1091 p50-ms	         5.651 p99-ms
`
	want := []float64{568, 0, 512, 4400, 1.02, .001, 1.012, .512, 57, 90, 0, 31, 1.009, 1.053, 1.134, .0001, .696, 1245, 5.651}
	for _, in := range insights {
		for _, f := range in.figures {
			n, err := number(text, f.pattern)
			if err != nil || n != want[0] {
				t.Errorf("%s is %v, want %v: %v", f.name, n, want[0], err)
			}
			want = want[1:]
		}
	}
	if _, err := number("", `(\d+)`); err == nil {
		t.Error("no error for output without the figure")
	}
}

// TestInsights checks that the tests and benchmarks that are run exist.
func TestInsights(t *testing.T) {
	for _, in := range insights {
		name := regexp.MustCompile(`\^(\w{2,})\$`).FindStringSubmatch(in.args)
		if name == nil {
			t.Fatalf("go test %s names no function", in.args)
		}
		folder := in.args[strings.LastIndex(in.args, " ")+1:]
		files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "func "+name[1]+"(")
		}) {
			t.Errorf("go test %s: %s has no %s", in.args, folder, name[1])
		}
	}
}

// TestTurnRows checks that ratios are taken turn by turn, so that something that slows down
// a whole turn does not affect them.
func TestTurnRows(t *testing.T) {
	one, joined := &figure{name: oneOutstanding, limit: 1.1}, &figure{name: "16", limit: .12, toItself: oneOutstanding}
	all := []*costs{
		{figure: one, of: [serverCount][]float64{{10, 20, 10}, {10.5, 21, 14}, {12, 24, 12}}},
		{figure: joined, of: [serverCount][]float64{{}, {1.05, 2.1, 1.4}, {1.2, 2.4, 1.2}}},
	}
	rows := turnRows(all)
	if v := rows[0].values; v[0] != (value{1.05, 1.05, 1.4}) || v[1] != (value{1.2, 1.2, 1.2}) || !rows[0].over() || rows[0].base != "10.0 µs" {
		t.Errorf("%+v", rows[0])
	}
	if v := rows[1].values; chart.Short(v[0].median) != "0.100" || rows[1].over() || rows[1].base != "" {
		t.Errorf("%+v", rows[1])
	}
	recorded := &costs{figure: &figure{name: "recorded", limit: 1.15, against: "-a"}, of: [serverCount][]float64{relayServer: {11, 24, 12}}, against: []float64{10, 20, 10}}
	if r := turnRows([]*costs{recorded})[0]; len(r.values) != 1 || r.values[0] != (value{1.2, 1.1, 1.2}) || !r.over() {
		t.Errorf("%+v", r)
	}
	var text, markdown strings.Builder
	table := table{rows: append(rows, row{name: "unlimited", values: []value{{1, 1, 1}}}), busy: .5}
	table.write(&text)
	table.writeMarkdown(&markdown)
	for _, want := range []string{"1.05 (1.05–1.40)", "OVER", "10.0 µs", "NOT IDLE", "over their limit"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s\n%s", want, &text, &markdown)
		}
	}
	if n := strings.Count(text.String(), "OVER"); n != 1 {
		t.Errorf("%d figures are over", n)
	}
}

// TestWritePage checks that only the table in the page is replaced.
func TestWritePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(page, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"figure-1", "figure-2"} {
		if err := (table{rows: []row{{name: name}}}).writePage(page); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), beginMark)
	_, after, _ := strings.Cut(string(text), endMark)
	if !strings.HasPrefix(string(got), before) || !strings.HasSuffix(string(got), after) || strings.Contains(string(got), "figure-1") || !strings.Contains(string(got), "| figure-2 |") {
		t.Errorf("the page is\n%s", got)
	}
	if err := os.WriteFile(page, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (table{}).writePage(page); err == nil || !strings.Contains(err.Error(), "does not have the lines") {
		t.Error(err)
	}
}
