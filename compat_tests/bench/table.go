package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/compat_tests/chart"
)

// row is a row of the table. It has values of mycelium and of labapp, or one value of the
// packages.
type row struct {
	name    string
	limited bool
	limit   float64
	values  []value
	base    string // what the yardstick costs
}

// value is a figure that was measured once or several times.
type value struct{ median, least, most float64 }

func valueOf(all []float64) value { return value{median(all), slices.Min(all), slices.Max(all)} }

func (v value) String() string {
	if v.least == v.most {
		return chart.Short(v.median)
	}
	return fmt.Sprintf("%s (%s–%s)", chart.Short(v.median), chart.Short(v.least), chart.Short(v.most))
}

func (r row) over() bool {
	return r.limited && slices.ContainsFunc(r.values, func(v value) bool { return v.median > r.limit })
}

func (r row) verdict() string {
	switch {
	case !r.limited:
		return ""
	case r.over():
		return "OVER"
	}
	return "ok"
}

func (r row) limitText() string {
	if !r.limited {
		return ""
	}
	return chart.Short(r.limit)
}

// cells returns the cells of the row after its name.
func (r row) cells() []string {
	cells := []string{r.limitText(), "", "", r.base, r.verdict()}
	for i, v := range r.values {
		cells[1+i] = v.String()
	}
	return cells
}

var headers = []string{"figure", "at most", "mycelium serve", "labapp", "yardstick", ""}

// table is the result of a run.
type table struct {
	rows    []row
	turns   int
	took    time.Duration
	machine string
	busy    float64 // share of the machine used by others, before or after the run
}

func (t table) over() bool { return slices.ContainsFunc(t.rows, row.over) }

// idleEnough is the share of the machine that others may use.
const idleEnough = 0.05

func (t table) notes() []string {
	notes := []string{t.machine, fmt.Sprintf("medians of the turns' ratios, least and most; turns: %d, for joins twice and for echoes three times as many, in %v", t.turns, t.took.Round(time.Second))}
	if t.busy > idleEnough {
		notes = append(notes, fmt.Sprintf("THE MACHINE WAS NOT IDLE: others used %.0f %% of it before or after; these figures are unreliable", t.busy*100))
	}
	if t.over() {
		notes = append(notes, "some figures are over their limit")
	}
	return notes
}

func (t table) write(w io.Writer) {
	lines := [][]string{headers}
	for _, r := range t.rows {
		lines = append(lines, append([]string{r.name}, r.cells()...))
	}
	widths := make([]int, len(headers))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintln(w)
	for _, note := range t.notes() {
		fmt.Fprintln(w, note)
	}
}

// The table is between these lines of docs/performance.md.
const (
	beginMark = "<!-- make bench: begin -->\n"
	endMark   = "<!-- make bench: end -->\n"
)

// writePage replaces the table in a page.
func (t table) writePage(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		return fmt.Errorf("%s does not have the lines %q and %q, between which the table belongs", name, beginMark, endMark)
	}
	var b strings.Builder
	b.WriteString(before + beginMark)
	t.writeMarkdown(&b)
	b.WriteString(endMark + after)
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

func (t table) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(headers, " | "), strings.Repeat("---|", len(headers)))
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s | %s |\n", r.name, strings.Join(r.cells(), " | "))
	}
	fmt.Fprintf(w, "\n%s.\n", strings.Join(t.notes(), "; "))
}
