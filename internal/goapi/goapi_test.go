package goapi

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	rewrite = flag.Bool("rewrite", false, "write the API as it is to api/*.txt")
	root    = flag.String("root", "../..", "root of the module to list; TestCounts alone takes another one")
)

func list(t *testing.T) []*Package {
	t.Helper()
	packages, err := List(*root)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("no public packages")
	}
	return packages
}

// file is where the API of a package is listed.
func file(path string) string {
	return filepath.Join("api", strings.ReplaceAll(path, "/", "-")+".txt")
}

// TestAPI: a change of the API is a change of a file that is reviewed.
func TestAPI(t *testing.T) {
	listed := make(map[string]bool)
	for _, p := range list(t) {
		name := file(p.Path)
		listed[name] = true
		now := strings.Join(p.Lines, "\n") + "\n"
		if *rewrite {
			if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		before, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		if string(before) != now {
			t.Errorf("the API of %s has changed; go test ./internal/goapi -rewrite writes %s:\n%s",
				p.Path, name, difference(string(before), now))
		}
	}
	files, err := filepath.Glob("api/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if listed[name] {
			continue
		}
		if *rewrite {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Errorf("%s is of a package that is gone", name)
		}
	}
}

// difference returns the lines that have gone, with -, and those that are new, with +.
func difference(before, now string) string {
	var b strings.Builder
	for _, side := range []struct{ mark, text, other string }{{"-", before, now}, {"+", now, before}} {
		for line := range strings.Lines(side.text) {
			if !strings.Contains("\n"+side.other, "\n"+line) {
				b.WriteString(side.mark + line)
			}
		}
	}
	return b.String()
}

// TestNoInternalTypes: what is exported can be named by everybody.
func TestNoInternalTypes(t *testing.T) {
	for _, p := range list(t) {
		for _, leak := range p.Leaks {
			t.Errorf("%s: %s is not for the users of a public package", p.Path, leak)
		}
	}
}

// TestDocumented: every exported type, function, method, constant and variable has a
// comment.
func TestDocumented(t *testing.T) {
	for _, p := range list(t) {
		for _, line := range p.Undocumented {
			t.Errorf("%s: %s has no comment", p.Path, line)
		}
	}
}

// TestCounts prints how many exported identifiers the packages have, with -v.
func TestCounts(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "| package | %s | total |\n|---%s\n", strings.Join(kinds, " | "), strings.Repeat("|---", len(kinds)+1)+"|")
	sums := make([]int, len(kinds))
	row := func(name string, counts []int) {
		total := 0
		fmt.Fprintf(&b, "| %s |", name)
		for _, n := range counts {
			total += n
			fmt.Fprintf(&b, " %d |", n)
		}
		fmt.Fprintf(&b, " %d |\n", total)
	}
	for _, p := range list(t) {
		counts := p.Counts()
		for i, n := range counts {
			sums[i] += n
		}
		row(p.Path, counts)
	}
	row("all", sums)
	t.Logf("\n%s", b.String())
}

// TestList reads a package that is made up.
func TestList(t *testing.T) {
	dir := t.TempDir()
	const source = `package a

import "example.org/m/internal/b"

// T is documented.
type T[K comparable] struct {
	F      b.Hidden
	hidden b.Hidden
}

func (t *T[K]) M(k K) error { return nil }

func (hidden) M() {}

type hidden int

// I is an alias.
type I = interface{ Do(n int) }

const C, d = 1, 2 // C is documented
`
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	packages, err := List(dir)
	if err != nil || len(packages) != 1 {
		t.Fatalf("%d packages, %v", len(packages), err)
	}
	p := packages[0]
	want := []string{"const C", "field T.F b.Hidden", "method (*T[K]) M(k K) error", "method I.Do(n int)", "type I interface", "type T[K comparable] struct"}
	if got := strings.Join(p.Lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("lines\n%s", got)
	}
	if got := strings.Join(p.Leaks, "\n"); got != "field T.F b.Hidden: b.Hidden" {
		t.Errorf("leaks %s", got)
	}
	if got := strings.Join(p.Undocumented, "\n"); got != "method (*T[K]) M(k K) error" {
		t.Errorf("undocumented %s", got)
	}
}
