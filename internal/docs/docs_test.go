// Package docs holds the documents to the code: what they name has to exist.
package docs

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/metrics"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The Go code of the documents is that of the examples, which are compiled and
// tested.
func TestGoSnippets(t *testing.T) {
	for document, example := range map[string]string{
		"README.md": "examples/chat/main.go", "docs/auth.md": "examples/auth/main.go", "docs/types.md": "examples/poll/main.go",
		"docs/channels.md": "presence/example_fetch_test.go",
	} {
		snippets := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(read(t, document), -1)
		if len(snippets) == 0 {
			t.Errorf("%s has no Go snippet", document)
		}
		for _, s := range snippets {
			if !strings.Contains(read(t, example), s[1]) {
				t.Errorf("a Go snippet of %s is not a part of %s:\n%s", document, example, s[1])
			}
		}
	}
}

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	code := regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]+`") // of Go, where a[b](c) is a call
	documents, _ := filepath.Glob(filepath.Join(root, "*.md"))
	more, _ := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	for _, name := range append(documents, more...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), "code"), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", filepath.Base(name), m[1])
			}
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write what is made from tables anew")

// The reference of the options is made from the one table that the server
// itself uses.
func TestConfigurationReference(t *testing.T) {
	want := "# Configuration\n\nOf `mycelium serve`. A flag wins over its environment variable, that over the file (`--config`, YAML or TOML).\n" +
		"`mycelium config check` says what is wrong with them, `mycelium config print --source` what they come to. Options marked\n" +
		"*Reloaded* are taken over by a running server on SIGHUP, see [operations](operations.md#reload); the others need a restart.\n" +
		"This page is written by `make generate`.\n\n" + config.Markdown()
	if *rewrite {
		if err := os.WriteFile(filepath.Join(root, "docs/configuration.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, "docs/configuration.md") != want {
		t.Error("docs/configuration.md is not what the options say: run make generate")
	}
}

// The options that docs/operations.md names are there.
func TestOperationsOptions(t *testing.T) {
	text, known := read(t, "docs/operations.md"), config.Markdown()
	flags := regexp.MustCompile(`--[a-z-]+[a-z]`).FindAllString(text, -1)
	keys := regexp.MustCompile("`(?:drain|limits|metrics|presence|api)\\.[a-z_]+`").FindAllString(text, -1)
	if len(flags) == 0 || len(keys) == 0 {
		t.Error("no option is named")
	}
	own := map[string]bool{"--strict": true, "--source": true} // of mycelium config
	for _, name := range flags {
		if !own[name] && !strings.Contains(known, "`"+name+"`") {
			t.Errorf("docs/operations.md names %s, which is no flag", name)
		}
	}
	for _, key := range keys {
		if !strings.Contains(known, key) {
			t.Errorf("docs/operations.md names %s, which is no option", key)
		}
	}
}

// The table of metrics is made from the one that the server itself uses.
func TestMetricsReference(t *testing.T) {
	const begin, end = "<!-- made by make generate -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(read(t, "docs/metrics.md"), begin)
	table, after, ends := strings.Cut(rest, end)
	if !found || !ends {
		t.Fatal("docs/metrics.md has no place for the table")
	}
	if *rewrite {
		table = metrics.Markdown()
		if err := os.WriteFile(filepath.Join(root, "docs/metrics.md"), []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if table != metrics.Markdown() {
		t.Error("docs/metrics.md is not what the metrics are: run make generate")
	}
	for _, name := range regexp.MustCompile(`mycelium_\w+`).FindAllString(before+after, -1) {
		if !strings.Contains(table, "`"+name+"`") && !strings.Contains(read(t, "metrics/metrics.go"), `"`+name+`"`) {
			t.Errorf("docs/metrics.md names %s, which is no metric", name)
		}
	}
}

// The tests and recordings that docs/compatibility.md calls as witnesses exist.
func TestCompatibilityWitnesses(t *testing.T) {
	text := read(t, "docs/compatibility.md")
	var tests strings.Builder
	files, _ := filepath.Glob(filepath.Join(root, "channels", "*_test.go"))
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(source)
	}
	witnesses := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(text, -1)
	if len(witnesses) == 0 {
		t.Error("no test is named")
	}
	for _, w := range witnesses {
		if !strings.Contains(tests.String(), "func "+w[1]+"(t *testing.T)") {
			t.Errorf("there is no test %s in package channels", w[1])
		}
	}
	for _, row := range regexp.MustCompile(`(?m)recordings? (.*) \|$`).FindAllStringSubmatch(text, -1) {
		for _, name := range regexp.MustCompile("`([\\w*]+)`").FindAllStringSubmatch(row[1], -1) {
			found, _ := filepath.Glob(filepath.Join(root, "compat_tests/transcripts/bandit", name[1]+".json"))
			if len(found) == 0 {
				t.Errorf("there is no recording %s", name[1])
			}
		}
	}
}
