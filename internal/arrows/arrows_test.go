package arrows

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const moduleRoot = "../.."

// TestModule is the check itself.
func TestModule(t *testing.T) {
	broken, err := Check(os.DirFS(moduleRoot), Rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}

func TestModuleName(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "module "+Module+"\n") {
		t.Errorf("go.mod is not of %s", Module)
	}
}

// TestTestOnlyIsWhole: nobody can forget to name a package of test helpers.
func TestTestOnlyIsWhole(t *testing.T) {
	root := os.DirFS(moduleRoot)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if strings.HasSuffix(name, "test") && !slices.Contains(TestOnly, name) {
			t.Errorf("%s is not in TestOnly", name)
		}
		return skipFolder(root, name)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBrokenArrows runs the check on packages that are made up.
func TestBrokenArrows(t *testing.T) {
	const m = Module + "/"
	for _, c := range []struct{ file, imported, rule string }{
		{"wire/v2.go", m + "pubsub", "wire"},
		{"wire/sub/a.go", m + "channels", "wire"},
		{"wire/a.go", Module, "wire"},
		{"pubsub/a.go", m + "wire", "pubsub"},
		{"pubsub/natsbus/a.go", m + "wire", "pubsub"},
		{"presence/a.go", m + "channels", "presence"},
		{"presence/a.go", m + "pubsub/natsbus", "presence"},
		{"internal/netloop/a.go", m + "internal/websocket", "internal-netloop"},
		{"internal/websocket/a.go", m + "internal/netloop", "internal-websocket"},
		{"internal/longpoll/a.go", m + "channels", "internal-longpoll"},
		{"channels/a.go", m + "presence", "channels"},
		{"channels/a.go", m + "internal/config", "channels"},
		{"channels/a_windows.go", m + "wireless", "channels"},
		{"internal/config/a.go", m + "presence", "internal-config"},
		{"internal/logging/a.go", m + "channels", "internal-logging"},
		{"internal/site/a.go", m + "wire", "internal-site"},
		{"instances/a.go", m + "cmd/mycelium", "cmd"},
		{"instances/a_test.go", m + "cmd/mycelium", "cmd"},
		{"channels/a.go", "github.com/mailru/easygo/netpoll", "easygo"},
		{"main.go", "github.com/gobwas/ws/wsutil", "gobwas"},
		{"instances/a.go", "testing", "tests"},
		{"instances/a.go", "net/http/httptest", "tests"},
		{"cmd/mycelium/main.go", m + "internal/websocket/wstest", "tests"},

		{"wire/a.go", "fmt", ""},
		{"wire/a_test.go", m + "channels", ""},
		{"wireless/a.go", m + "pubsub", ""},
		{"presence/a.go", m + "pubsub", ""},
		{"channels/a.go", m + "wire", ""},
		{"channels/channelstest/a.go", m + "channels", ""},
		{"channels/channelstest/a.go", "testing", ""},
		{"channels/channelstest/a.go", m + "internal/websocket/wstest", ""},
		{"channels/a_test.go", "github.com/gobwas/ws", ""},
		{"internal/websocket/wstest/a.go", m + "internal/websocket", ""},
		{"internal/websocket/wstest/a.go", "github.com/gobwas/ws", ""},
		{"internal/netloop/a.go", "github.com/mailru/easygo/netpoll", ""},
		{"internal/logging/a.go", m + "internal/config", "internal-logging"},
		{"cmd/mycelium/main.go", m + "cmd/mycelium/inner", ""},
		{"cmd/mycelium/main.go", m + "internal/site", ""},
		{"instances/a_test.go", "testing/synctest", ""},
		{"testdata/a.go", m + "cmd", ""},
		{"wire/testdata/a.go", m + "cmd", ""},
		{"wire/_old/a.go", m + "cmd", ""},
		{"wire/.old/a.go", m + "cmd", ""},
		{"wire/a.txt", m + "cmd", ""},
	} {
		source := "package p\n\nimport (\n\t_ \"errors\"\n\t_ \"" + c.imported + "\"\n)\n"
		broken, err := Check(fstest.MapFS{c.file: {Data: []byte(source)}}, Rules)
		if err != nil {
			t.Fatal(err)
		}
		if c.rule == "" {
			if len(broken) > 0 {
				t.Errorf("%s may import %s: %q", c.file, c.imported, broken)
			}
			continue
		}
		i := slices.IndexFunc(Rules, func(r Rule) bool { return r.Name == c.rule })
		if i < 0 {
			t.Fatalf("no rule %s", c.rule)
		}
		want := c.file + ":5:4: import \"" + c.imported + "\" breaks the arrow " + c.rule + ": " + Rules[i].Why
		if !slices.Contains(broken, want) {
			t.Errorf("%q, want %s", broken, want)
		}
	}
}

func TestNestedModulesAreLeftOut(t *testing.T) {
	source := &fstest.MapFile{Data: []byte("package p\n\nimport _ \"" + Module + "/cmd\"\n")}
	broken, err := Check(fstest.MapFS{"go.mod": {}, "examples/go.mod": {}, "examples/wire/a.go": source, "a/b.go": source}, Rules)
	if err != nil || len(broken) != 1 || !strings.HasPrefix(broken[0], "a/b.go:3:10: ") {
		t.Errorf("%q %v, want the file that is not in a nested module", broken, err)
	}
}

func TestFilesThatCannotBeParsed(t *testing.T) {
	_, err := Check(fstest.MapFS{"a.go": {Data: []byte("no Go")}}, Rules)
	if err == nil || !strings.Contains(err.Error(), "a.go:1:1") {
		t.Errorf("%v, want the place", err)
	}
}

// TestRules: each rule has a name of its own and a reason for people.
func TestRules(t *testing.T) {
	names := map[string]bool{}
	for _, r := range Rules {
		if r.Name == "" || names[r.Name] {
			t.Errorf("%q is no name for a rule, or there twice", r.Name)
		}
		names[r.Name] = true
		if len(r.Why) < 20 {
			t.Errorf("%s: no reason", r.Name)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write the list of arrows in ARCHITECTURE.md anew")

// TestArchitecture: ARCHITECTURE.md has these arrows and no others.
func TestArchitecture(t *testing.T) {
	const begin, end = "<!-- arrows: go test ./internal/arrows -rewrite -->\n```\n", "```\n<!-- arrows end -->\n"
	name := filepath.Join(moduleRoot, "ARCHITECTURE.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), begin)
	list, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has no lines %q and %q", name, begin, end)
	}
	want := List(Rules)
	if list == want {
		return
	}
	if !*rewrite {
		t.Fatalf("%s has other arrows than internal/arrows; go test ./internal/arrows -rewrite", name)
	}
	if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	rules := []Rule{
		layer("a", []string{"internal/x", "b", "internal/y"}, ""), layer("b", nil, ""), layer("internal/x", []string{"internal/y"}, ""), layer("internal/y", nil, ""),
		{Name: "other", Deny: []string{"example.com/other"}},
	}
	const want = "a ──> b, internal/{x,y}\ninternal/x ──> internal/y\nb, internal/y ──> nothing\n"
	if got := List(rules); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
