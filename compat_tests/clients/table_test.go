package clients

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var writeTable = flag.Bool("write-table", false, "write the table of clients into the README instead of comparing it")

// table is clients × behaviours.
type table struct {
	mu      sync.Mutex
	results map[string]map[string]outcome // by client and behaviour
}

func (r *table) add(client string, outcomes map[string]outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.results == nil {
		r.results = map[string]map[string]outcome{}
	}
	r.results[client] = outcomes
}

// marks has the texts of cells.
var marks = map[outcomeKind]string{passed: "yes", notOffered: "–", failed: "**no**"}

// markdown returns a table with a row for each behaviour, and the notes below it.
func (r *table) markdown() string {
	var rows, notes strings.Builder
	rows.WriteString("| behaviour |")
	rule := "|---|"
	for _, client := range r.clients() {
		fmt.Fprintf(&rows, " %s |", client)
		rule += ":-:|"
	}
	rows.WriteString("\n" + rule + "\n")
	numbers := map[string]int{}
	for _, behaviour := range behaviours {
		fmt.Fprintf(&rows, "| %s |", behaviour)
		for _, client := range r.clients() {
			o := r.results[client][behaviour]
			fmt.Fprintf(&rows, " %s", marks[o.kind])
			if o.note != "" {
				if numbers[o.note] == 0 {
					numbers[o.note] = len(numbers) + 1
					fmt.Fprintf(&notes, "%d. %s\n", numbers[o.note], o.note)
				}
				fmt.Fprintf(&rows, " [%d]", numbers[o.note])
			}
			rows.WriteString(" |")
		}
		rows.WriteString("\n")
	}
	return rows.String() + "\n" + notes.String()
}

// clients returns the clients that have results, in the order of toolchains.
func (r *table) clients() []string {
	var names []string
	for _, chain := range toolchains {
		for _, p := range chain.programs {
			if r.results[p.client] != nil {
				names = append(names, p.client)
			}
		}
	}
	return names
}

// The lines before and after the table in the README.
const (
	readme     = "README.md"
	tableBegin = "<!-- begin: written by go test -write-table -->\n"
	tableEnd   = "<!-- end -->\n"
)

// compare compares the README's table with the results, or rewrites it.
func (r *table) compare(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := bytes.Cut(text, []byte(tableBegin))
	written, after, ends := bytes.Cut(rest, []byte(tableEnd))
	if !begins || !ends {
		t.Fatalf("%s does not have the lines for the table, %q and %q", readme, tableBegin, tableEnd)
	}
	made := r.markdown()
	t.Log("\n" + made)
	switch {
	case *writeTable:
		all := bytes.Join([][]byte{before, []byte(tableBegin), []byte(made), []byte(tableEnd), after}, nil)
		if err := os.WriteFile(readme, all, 0o644); err != nil {
			t.Fatal(err)
		}
	case string(written) != made:
		t.Errorf("the table of %s differs from the results above", readme)
	}
}

func TestMarkdown(t *testing.T) {
	r := &table{}
	last, first := toolchains[len(toolchains)-1].programs[0].client, toolchains[0].programs[0].client
	r.add(last, map[string]outcome{"connect": {passed, "with a note"}, "join": {failed, ""}})
	r.add(first, map[string]outcome{"connect": {passed, ""}, "join": {notOffered, "with a note"}})
	made := r.markdown()
	for _, want := range []string{
		"| behaviour | " + first + " | " + last + " |\n",
		"\n| connect | yes | yes [1] |\n",
		"\n| join | – [1] | **no** |\n",
		"\n1. with a note\n",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("no %q in\n%s", want, made)
		}
	}
}
