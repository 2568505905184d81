// Package docs holds the documents to the code: what they name has to exist.
package docs

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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

// TestGoSnippets checks that the Go code of the documents is that of the examples,
// which are compiled and tested.
func TestGoSnippets(t *testing.T) {
	for document, example := range map[string]string{
		"README.md": "examples/chat/main.go", "docs/auth.md": "examples/auth/main.go", "docs/types.md": "examples/poll/main.go",
		"docs/channels.md": "presence/example_fetch_test.go", "docs/history.md": "channels/example_history_test.go",
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

// widest is how many characters a line of a snippet may have, with its end.
const widest = 121

// TestBackEndSnippets checks that the code of docs/backends.md is that of the examples, which a suite in compat_tests/js
// runs, and that their signature checks are the documented ones.
func TestBackEndSnippets(t *testing.T) {
	examples := make(map[string]string)
	for language, name := range map[string]string{"python": "python/chat.py", "js": "node/chat.js", "php": "php/chat.php", "sql": "node/schema.sql", "yaml": "mycelium.yaml"} {
		examples[language] = read(t, "examples/backends/"+name)
	}
	if read(t, "examples/backends/php/schema.sql") != examples["sql"] {
		t.Error("the examples with SQLite have different schemas: docs/backends.md shows one for both")
	}
	parts := make(map[string]string) // by their heading
	for part := range strings.SplitSeq(read(t, "docs/backends.md"), "\n## ") {
		heading, text, _ := strings.Cut(part, "\n")
		parts[heading] = text
	}
	found := make(map[string]int)
	for _, heading := range []string{"Tutorial: a moderated chat", "Signatures"} {
		for _, fence := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```").FindAllStringSubmatch(parts[heading], -1) {
			example, code := examples[fence[1]], fence[2]
			if heading == "Signatures" { // the imports of the examples are of more
				_, code, _ = strings.Cut("\n"+code, "\n\n")
				code = cmp.Or(code, fence[2])
			}
			if example == "" {
				continue // a command, or a language without an example
			}
			found[fence[1]]++
			for line := range strings.Lines(code) {
				if fence[1] != "sql" && utf8.RuneCountInString(line) > widest {
					t.Errorf("a line of a %s snippet of docs/backends.md has more than %d characters, so readers have to scroll: %s", fence[1], widest, line)
				}
			}
			if !strings.Contains(example, code) {
				t.Errorf("a %s snippet of docs/backends.md is not a part of its example:\n%s", fence[1], code)
			}
		}
	}
	for language := range examples {
		if found[language] == 0 {
			t.Errorf("docs/backends.md shows nothing of the example in %s", language)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write what is made from tables anew")

// TestConfigurationReference checks that the reference of the options is made from the
// server's own table.
func TestConfigurationReference(t *testing.T) {
	want := "# Configuration\n\nThe options of `mycelium serve`. A flag overrides its environment variable, which overrides the file (`--config`, YAML or TOML).\n" +
		"`mycelium config check` reports what is wrong, and `mycelium config print --source` prints the resulting values. A running server takes\n" +
		"over options marked *Reloaded* on SIGHUP, see [operations](operations.md#reload); the others need a restart.\n" +
		"`make generate` writes this page.\n\n" + config.Markdown()
	if *rewrite {
		if err := os.WriteFile(filepath.Join(root, "docs/configuration.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, "docs/configuration.md") != want {
		t.Error("docs/configuration.md is not what the options say: run make generate")
	}
}

// TestNamedOptions checks that the options that these documents name exist.
func TestNamedOptions(t *testing.T) {
	known := config.Markdown()
	for _, document := range []string{"docs/operations.md", "docs/tls.md"} {
		text := read(t, document)
		flags := regexp.MustCompile(`--[a-z-]+[a-z]`).FindAllString(text, -1)
		keys := regexp.MustCompile("`(?:drain|limits|metrics|presence|api|tls)\\.[a-z_]+`").FindAllString(text, -1)
		if len(flags) == 0 || len(keys) == 0 {
			t.Errorf("%s names no option", document)
		}
		own := map[string]bool{"--strict": true, "--source": true} // of mycelium config
		for _, name := range flags {
			if !own[name] && !strings.Contains(known, "`"+name+"`") {
				t.Errorf("%s names %s, which is not a flag", document, name)
			}
		}
		for _, key := range keys {
			if !strings.Contains(known, key) {
				t.Errorf("%s names %s, which is not an option", document, key)
			}
		}
	}
}

// TestMetricsReference checks that the table of metrics is made from the server's own.
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
			t.Errorf("docs/metrics.md names %s, which is not a metric", name)
		}
	}
}

// TestCompatibilityWitnesses checks that the tests and recordings that
// docs/compatibility.md refers to exist.
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
		t.Error("docs/compatibility.md names no test")
	}
	for _, w := range witnesses {
		if !strings.Contains(tests.String(), "func "+w[1]+"(t *testing.T)") {
			t.Errorf("docs/compatibility.md names %s, which is not a test in package channels", w[1])
		}
	}
	for _, row := range regexp.MustCompile(`(?m)recordings? (.*) \|$`).FindAllStringSubmatch(text, -1) {
		for _, name := range regexp.MustCompile("`([\\w*]+)`").FindAllStringSubmatch(row[1], -1) {
			found, _ := filepath.Glob(filepath.Join(root, "compat_tests/transcripts/bandit", name[1]+".json"))
			if len(found) == 0 {
				t.Errorf("docs/compatibility.md names %s, which is not a recording", name[1])
			}
		}
	}
}
