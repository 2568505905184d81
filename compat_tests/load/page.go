//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/compat_tests/chart"
)

// The commands write between these lines of docs/load-tests.md.
const (
	beginMark = "<!-- make load-tsung, make load-artillery: begin -->\n"
	endMark   = "<!-- make load-tsung, make load-artillery: end -->\n"
)

// writePage replaces what is between the marks of a page by the reports in its folder.
func writePage(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	made, err := withResults(string(text), strings.TrimSuffix(name, ".md"))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(made), 0o644)
}

// withResults returns the text of a page with the results of the reports in dir.
func withResults(text, dir string) (string, error) {
	before, rest, found := strings.Cut(text, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		return "", fmt.Errorf("missing the lines %q and %q, between which the results are written", beginMark, endMark)
	}
	var reports []*report
	for _, tool := range []string{"tsung", "artillery"} {
		text, err := os.ReadFile(filepath.Join(dir, tool+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		m := &report{}
		if err := errors.Join(err, json.Unmarshal(text, m)); err != nil {
			return "", err
		}
		reports = append(reports, m)
	}
	return before + beginMark + tables(reports, filepath.Base(dir)) + endMark + after, nil
}

// tables returns the results as Markdown.
func tables(reports []*report, pictures string) string {
	var b strings.Builder
	b.WriteString("| command | versions | commit | begun | took | load average of the machine before each scenario |\n|---|---|---|---|---|---|\n")
	for _, m := range reports {
		var loads []string
		for _, r := range m.Results {
			if r.Tool == m.Tool {
				loads = append(loads, r.Load)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s; %s | %s | %s | %v | %s |\n", m.Command, m.Version, m.Machine, m.Commit,
			m.Started.Format("2006-01-02 15:04 MST"), time.Duration(m.Seconds)*time.Second, strings.Join(loads, ", "))
	}
	b.WriteString("\n| scenario | by | users | messages sent a second | join p50, p99 | reply p50, p99 | delivery p50, p99 | server: CPU | for a message | memory | tool: CPU, most | for a message | memory | CPU of others |\n|" + strings.Repeat("---|", 14) + "\n")
	for _, c := range scenarios {
		for _, m := range reports {
			if r := m.of(c.name, m.Tool); r != nil {
				b.WriteString(r.row(c.title, title(m.Tool)))
			}
			if r := m.of(c.name, "bench"); r != nil {
				b.WriteString(r.row(c.title, "`mycelium bench` after it"))
			}
		}
	}
	b.WriteString(problems(reports))
	for _, c := range scenarios {
		fmt.Fprintf(&b, "\n### %s%s\n", strings.ToUpper(c.title[:1]), c.title[1:])
		for _, m := range reports {
			fmt.Fprintf(&b, "\n![%s: %s](%s/%s-%s.svg)\n", title(m.Tool), c.title, pictures, m.Tool, c.name)
		}
	}
	return b.String()
}

// problems returns a list of what failed, or a sentence that nothing did.
func problems(reports []*report) string {
	var b strings.Builder
	for _, m := range reports {
		for _, r := range m.Results {
			if len(r.Problems) > 0 {
				fmt.Fprintf(&b, "- **FAILED**: %s\n", r.summary())
			}
		}
	}
	if b.Len() == 0 {
		return "\nNo run had an error, a lost message, or a connection that ended unexpectedly.\n"
	}
	return "\n" + b.String()
}

func title(tool string) string { return strings.ToUpper(tool[:1]) + tool[1:] }

// row returns the result as a row of the table.
func (r *result) row(scenario, by string) string {
	pair := func(what string) string {
		l := r.latencyOf(what)
		if l == nil {
			return ""
		}
		return fmt.Sprintf("%s, %s ms", chart.Short(l.P50), chart.Short(l.P99))
	}
	each := func(cpu float64) string {
		if r.PerSecond < 10 {
			return ""
		}
		return fmt.Sprintf("%.0f µs", cpu/r.PerSecond*1e6)
	}
	return fmt.Sprintf("| %s | %s | %d | %.0f | %s | %s | %s | %.2f | %s | %.0f MB | %.2f, %.2f | %s | %.0f MB | %.2f |\n", scenario, by, r.Users, r.PerSecond,
		pair("join"), pair("reply"), pair("delivery"), r.Server, each(r.Server), r.ServerRSS/1e6, r.ToolCPU, r.ToolPeak, each(r.ToolCPU), r.ToolRSS/1e6, r.Others)
}
