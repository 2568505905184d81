package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tables of ARCHITECTURE.md that follow something through the code are
// held against the call graph. In
//
//	| 4 | 3 | `channels.Context.handleEvent` | … |
//
// the function of row 3 calls this one; "3 …" allows up to maxHops-1 others
// between the two. The cell may also name the caller, a function in backticks,
// and then "after" and a function that the caller must come to first. Words
// without backticks begin a way. Rows with the same caller stand in the order
// in which it comes to them.
const maxHops = 6

// ways are the sections with such a table, and the most rows that it may have.
var ways = map[string]int{
	"The way of a frame":          8,
	"The way of a join":           14,
	"The way of a handshake":      12,
	"The way of a presence track": 12,
	"The way of an API call":      12,
	"Presences of other nodes":    8,
	"The log of a node":           8,
}

// waysPackages have all functions of the tables.
var waysPackages = []string{"channels", "cluster/presences", "httpapi", "instances", "internal/admission", "internal/front", "internal/netloop", "presence"}

func TestWays(t *testing.T) {
	graph, err := loadCalls(waysPackages...)
	if err != nil {
		t.Fatal(err)
	}
	for title, most := range ways {
		rows := wayRows(t, title)
		if len(rows) > most {
			t.Errorf("%s has %d rows, more than %d: leave something out", title, len(rows), most)
		}
		for _, err := range graph.checkWay(rows) {
			t.Errorf("ARCHITECTURE.md, %s, %v", title, err)
		}
	}
}

// wayRow is a row of a table.
type wayRow struct {
	function string
	caller   string // "": the way begins here
	after    string // what the caller comes to first; "": nothing in particular
	hops     int    // calls from the caller to the function, at most
}

var (
	wayCells  = regexp.MustCompile("(?m)^\\| ([0-9]+) \\| ([^|]+) \\| `([^`|]+)` \\|")
	backticks = regexp.MustCompile("`([^`]+)`")
)

// wayRows reads the table of a section of ARCHITECTURE.md.
func wayRows(t *testing.T, title string) (rows []wayRow) {
	t.Helper()
	_, section, found := strings.Cut(read(t, "ARCHITECTURE.md"), "# "+title+"\n")
	if !found {
		t.Fatalf("ARCHITECTURE.md has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n#")
	numbered := strings.Count(section, "\n| ") - strings.Count(section, "\n| #")
	cells := wayCells.FindAllStringSubmatch(section, -1)
	if len(cells) == 0 || len(cells) != numbered {
		t.Fatalf("ARCHITECTURE.md, %s: %d of %d rows can be read", title, len(cells), numbered)
	}
	for i, c := range cells {
		if c[1] != strconv.Itoa(i+1) {
			t.Fatalf("ARCHITECTURE.md, %s: row %d has the number %s", title, i+1, c[1])
		}
		row := wayRow{function: c[3], hops: 1}
		if strings.Contains(c[2], "…") {
			row.hops = maxHops
		}
		names := backticks.FindAllStringSubmatch(c[2], 2)
		switch n, err := strconv.Atoi(strings.TrimSuffix(c[2], " …")); {
		case err == nil && n >= 1 && n <= i:
			row.caller = rows[n-1].function
		case err == nil:
			t.Fatalf("ARCHITECTURE.md, %s: row %d is called by row %d", title, i+1, n)
		case len(names) > 0:
			row.caller = names[0][1]
			if len(names) > 1 {
				row.after = names[1][1]
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// checkWay returns what is wrong with a table.
func (g *callGraph) checkWay(rows []wayRow) (wrong []error) {
	place := make(map[string]int)     // by caller, where it comes to the last row that it calls
	latest := make(map[string]string) // by caller, that row's function
	for i, r := range rows {
		fail := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("row %d: %s", i+1, fmt.Sprintf(format, args...)))
		}
		if missing := g.missing(r.function, r.caller, r.after); missing != "" {
			fail("there is no function %s", missing)
			continue
		}
		if r.caller == "" {
			continue
		}
		way, at := g.path(r.caller, r.function, r.hops)
		if way == nil {
			fail("%s does not call %s", r.caller, r.function)
			continue
		}
		if last := latest[r.caller]; last != "" && at < place[r.caller] {
			fail("%s comes to %s before %s", r.caller, r.function, last)
		}
		place[r.caller], latest[r.caller] = at, r.function
		if r.after == "" {
			continue
		}
		if way, first := g.path(r.caller, r.after, maxHops); way == nil || first > at {
			fail("%s does not call %s before %s", r.caller, r.after, r.function)
		}
	}
	return wrong
}

// missing returns the first of the functions that there is not.
func (g *callGraph) missing(functions ...string) string {
	i := slices.IndexFunc(functions, func(f string) bool { return f != "" && !g.has(f) })
	if i < 0 {
		return ""
	}
	return functions[i]
}

func (g *callGraph) has(function string) bool { _, ok := g.calls[function]; return ok }

// TestCheckWay changes a way in each of the manners that the check is for.
func TestCheckWay(t *testing.T) {
	const source = `package p

type task interface{ Run() }

func post(task) {}

type job struct{}

func (*job) Run() { work() }

func start() {
	defer finish()
	prepare()
	post(&job{})
	func() { tell() }()
}

func prepare() {}
func work()    {}
func tell()    {}
func finish()  {}

func indirectly() { tell() }
`
	rows := []wayRow{
		{function: "p.start"},
		{function: "p.prepare", caller: "p.start", hops: 1},
		{function: "p.work", caller: "p.start", after: "p.prepare", hops: 2},
		{function: "p.tell", caller: "p.start", hops: 1},
		{function: "p.finish", caller: "p.start", hops: 1},
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"as it is":           {},
		"a step is dropped":  {"\tprepare()\n", "", "[row 2: p.start does not call p.prepare row 3: p.start does not call p.prepare before p.work]"},
		"no longer posted":   {"post(&job{})", "post(nil)", "[row 3: p.start does not call p.work]"},
		"reordered":          {"\tpost(&job{})\n\tfunc() { tell() }()\n", "\ttell()\n\tpost(&job{})\n", "[row 4: p.start comes to p.tell before p.work]"},
		"no longer deferred": {"defer finish()", "finish()", "[row 5: p.start comes to p.finish before p.tell]"},
		"no longer directly": {"func() { tell() }()", "indirectly()", "[row 4: p.start does not call p.tell]"},
		"renamed":            {"work()", "toil()", "[row 3: there is no function p.work]"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newCallGraph()
			file, err := parser.ParseFile(g.files, "p.go", strings.ReplaceAll(source, test.old, test.new), parser.SkipObjectResolution)
			if test.old == "" {
				file, err = parser.ParseFile(g.files, "p.go", source, parser.SkipObjectResolution)
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := g.check(module+"p", []*ast.File{file})
			if err != nil {
				t.Fatal(err)
			}
			g.addCalls(c)
			want := test.want
			if want == "" {
				want = "[]"
			}
			if got := fmt.Sprint(g.checkWay(rows)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
