package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinks checks that links between documents lead to a file and, if they name one,
// to a heading in it.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]+))?\)`)
	code := regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]+`") // of Go, where a[b](c) is a call
	anchors := make(map[string]map[string]bool)
	for _, pattern := range []string{"*.md", "docs/*.md", "deploy/*.md", "compat_tests/*.md", "compat_tests/*/*.md", "examples/*/*.md"} {
		documents, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, name := range documents {
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(readFile(t, name), "code"), -1) {
				target := name
				if m[1] != "" {
					target = filepath.Join(filepath.Dir(name), m[1])
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s links to %s, which does not exist", name, m[1])
					continue
				}
				if m[2] == "" || filepath.Ext(target) != ".md" {
					continue
				}
				if anchors[target] == nil {
					anchors[target] = anchorsOf(readFile(t, target))
				}
				if !anchors[target][m[2]] {
					t.Errorf("%s links to #%s, which is not a heading of %s", name, m[2], target)
				}
			}
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unlinked = regexp.MustCompile(`[^\pL\pN _-]`)
)

// anchorsOf returns the anchors that GitHub gives the headings of a document.
func anchorsOf(text string) map[string]bool {
	anchors := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchors[strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return anchors
}
