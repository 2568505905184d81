package docs

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
)

// TestOperationsLimits checks that the table of limits in docs/operations.md has every
// option of the section limits, once, and a star for those that the spec of an instance
// may have.
func TestOperationsLimits(t *testing.T) {
	_, text, found := strings.Cut(read(t, "docs/operations.md"), "\n## Limits, and who shares them\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !found {
		t.Fatal("docs/operations.md has no section about limits")
	}
	starred := make(map[string]bool) // by option
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		for _, m := range regexp.MustCompile("`limits\\.(\\w+)`( \\*)?").FindAllStringSubmatch(line, -1) {
			if _, twice := starred[m[1]]; twice {
				t.Errorf("the table has limits.%s twice", m[1])
			}
			starred[m[1]] = m[2] != ""
		}
	}
	inSpec := make(map[string]bool)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[instances.Limits]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inSpec[name] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `limits\\.(\\w+)`").FindAllStringSubmatch(config.Markdown(), -1) {
		star, listed := starred[m[1]]
		switch {
		case !listed:
			t.Errorf("the table has no limits.%s", m[1])
		case star != inSpec[m[1]]:
			t.Errorf("limits.%s has a star: %v, but may be in a spec: %v", m[1], star, inSpec[m[1]])
		}
		delete(inSpec, m[1])
	}
	for name := range inSpec {
		t.Errorf("a spec may have %s, which is not an option", name)
	}
}
