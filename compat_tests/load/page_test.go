//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage: the tables of the document are those of the reports in its folder, every
// diagram is there, and what is published did not fail.
func TestPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "load-tests.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	made, err := withResults(string(text), strings.TrimSuffix(page, ".md"))
	if err != nil {
		t.Fatal(err)
	}
	if made != string(text) {
		t.Errorf("%s is not made of the reports beside it: make load-tsung or make load-artillery writes both", page)
	}
	for _, c := range scenarios {
		for _, tool := range []string{"tsung", "artillery"} {
			if _, err := os.Stat(filepath.Join("..", "..", "docs", "load-tests", tool+"-"+c.name+".svg")); err != nil {
				t.Error(err)
			}
		}
	}
	if strings.Contains(made, "FAILED") {
		t.Error("a published run has failed")
	}
	if _, err := withResults("no marks", t.TempDir()); err == nil {
		t.Error("a page without marks is no error")
	}
}

// TestPicture draws a run, and one of which nothing is known.
func TestPicture(t *testing.T) {
	r := &result{
		Tool: "tsung", Scenario: "rooms", ToolRSS: 5e7, ServerRSS: 3e7,
		samples: []sample{{at: 1, users: 5, in: 3, out: 30, server: .2, tool: .5, serverRSS: 3e7}, {at: 2, users: 10, in: 30, out: 300, server: .4, tool: 1.5, serverRSS: 3e7}},
		series:  []moment{{at: -1, values: map[string]float64{"mean push": 9}}, {at: 1, values: map[string]float64{"mean push": 1.5}}, {at: 2, values: map[string]float64{"mean push": 15, "mean join": 1}}},
	}
	for _, text := range []string{r.picture(), (&result{Tool: "artillery"}).picture()} {
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Count(text, "<g ") != 4 {
			t.Errorf("a bad picture:\n%s", text)
		}
	}
	if curves := r.curves(10); len(curves) != 2 || len(curves[1].Points) != 2 {
		t.Errorf("the curves are %+v, want those of joins and pushes without the point before the start", curves)
	}
}
