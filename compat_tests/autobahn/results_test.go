package autobahn

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

var writeResults = flag.Bool("write-results", false, "write the summary of a run of all cases into "+resultsFile)

const resultsFile = "RESULTS.md"

// outcome is a plan with its results.
type outcome struct {
	plan    plan
	results map[string]result
}

// count returns how many cases of a section had a behaviour, on one kind of connection.
func count(outcomes []outcome, k kind, s section, behavior string) (n int) {
	for _, o := range outcomes {
		for id, r := range o.results {
			if o.plan.server == k && r.Behavior == behavior && strings.HasPrefix(id, strings.TrimSuffix(s.pattern(), "*")) {
				n++
			}
		}
	}
	return n
}

// row returns the beginning of a section's row, up to the number of its cases.
func (s section) row() string {
	return fmt.Sprintf("| %d | %s | %d |", s.number, s.title, s.cases)
}

// writeMarkdown writes the summary.
func writeMarkdown(t *testing.T, s suite, outcomes []outcome, took time.Duration) {
	t.Helper()
	if err := os.WriteFile(resultsFile, []byte(markdown(s, outcomes, time.Now(), took)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func markdown(s suite, outcomes []outcome, now time.Time, took time.Duration) string {
	var b strings.Builder
	b.WriteString("# Autobahn's results\n\nWritten by `make autobahn`. The [README](README.md) describes the run.\n\n")
	fmt.Fprintf(&b, "%s, autobahntestsuite %s under Python %s, %s on %s/%s with %d CPUs, in %v. No case failed.\n",
		now.UTC().Format(time.DateOnly), s.version(), s.python.version,
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), took.Round(time.Second))
	b.WriteString("How each closes is judged too: who closes, whether cleanly, and with which code.\n")
	for k, title := range []string{onEpoll: "Connections on epoll", portable: "Portable connections", overTLS: "Connections with TLS, on epoll"} {
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		b.WriteString("| section | of | cases | OK | informational | non-strict |\n|---:|---|---:|---:|---:|---:|\n")
		for _, s := range sections {
			ok, info, loose := count(outcomes, kind(k), s, passed), count(outcomes, kind(k), s, informational), count(outcomes, kind(k), s, nonStrict)
			if ok+info+loose > 0 {
				fmt.Fprintf(&b, "%s %d | %d | %d |\n", s.row(), ok, info, loose)
			}
		}
	}
	writeNotes(&b)
	return b.String()
}

// writeNotes lists the cases that are not OK.
func writeNotes(b *strings.Builder) {
	b.WriteString("\n## Non-strict\n\n")
	if len(nonStrictReasons) == 0 {
		b.WriteString("None.\n")
	}
	for _, id := range byNumber(nonStrictReasons) {
		fmt.Fprintf(b, "- %s: %s\n", id, nonStrictReasons[id])
	}
	b.WriteString("\n## Informational\n\nWhat the specifications leave open, and the code with which we close.\n\n")
	for _, id := range byNumber(informed) {
		fmt.Fprintf(b, "- %s: %d; %s\n", id, informed[id].code, informed[id].reason)
	}
}

// TestMarkdown checks what is counted, and where.
func TestMarkdown(t *testing.T) {
	text := markdown(suite{python: python{version: "2.7.1"}}, []outcome{
		{plan{}, map[string]result{"1.1.1": {Behavior: passed}, "1.1.2": {Behavior: nonStrict}, "10.1.1": {Behavior: passed}}},
		{plan{}, map[string]result{"7.1.6": {Behavior: informational}}},
		{plan{server: overTLS}, map[string]result{"2.1": {Behavior: passed}}},
		{plan{server: portable}, map[string]result{"1.1.1": {Behavior: passed}}},
	}, time.Unix(0, 0), 90*time.Second)
	for _, want := range []string{
		"1970-01-01", "Python 2.7.1", "in 1m30s",
		"| 1 | Framing | 16 | 1 | 0 | 1 |\n| 7 | Closing | 37 | 0 | 1 | 0 |\n| 10 | Automatic fragmentation | 1 | 1 | 0 | 0 |\n\n",
		"| 1 | Framing | 16 | 1 | 0 | 0 |\n\n", "TLS, on epoll\n\n| section | of | cases | OK | informational | non-strict |\n|---:|---|---:|---:|---:|---:|\n| 2 | Pings and pongs | 11 | 1 | 0 | 0 |\n\n",
		"## Non-strict\n\nNone.\n", "- 7.1.6: 1000;",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
