package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/instances/collab"
	"github.com/mycelium-rt/mycelium/instances/game"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

// What docs/types.md says of each ready type's configuration is its schema:
// the fields, their order and their defaults.
func TestTypesConfig(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\|([^|]*)\\|")
	for _, kind := range []instances.Type{relay.Type(), chat.Type(), game.Type(), collab.Type(), realtime.Type(realtime.Options{})} {
		section := sectionOf(t, kind.Name())
		_, table, _ := strings.Cut(section, "\n| config |")
		table, _, _ = strings.Cut(table, "\n\n")
		var schema struct {
			Properties map[string]struct{ Default any }
		}
		if err := json.Unmarshal(kind.Schema(), &schema); err != nil {
			t.Fatal(err)
		}
		said := make(map[string]string)
		for _, m := range row.FindAllStringSubmatch(table, -1) {
			said[m[1]] = strings.NewReplacer(",", "", "`", "", `"`, "").Replace(strings.TrimSpace(m[2]))
		}
		for name, p := range schema.Properties {
			if _, ok := said[name]; !ok {
				t.Errorf("docs/types.md does not name %s of %s", name, kind.Name())
			}
			if want := fmt.Sprint(p.Default); p.Default != nil && said[name] != want {
				t.Errorf("docs/types.md says that %s of %s is %q by default, its schema %s", name, kind.Name(), said[name], want)
			}
			delete(said, name)
		}
		if len(said) > 0 {
			t.Errorf("docs/types.md names fields that %s does not have: %v", kind.Name(), said)
		}
	}
}

// The events that it names are those that the types handle and send, and its
// signals those that they take. The answer to an unknown event names them too.
func TestTypesEvents(t *testing.T) {
	for _, name := range []string{"chat", "game", "collab"} {
		source := packageOf(t, name)
		section := sectionOf(t, name)
		handled := sorted(regexp.MustCompile(`(?:channels\.On|t\.on)\(\w+, "(\w+)"`).FindAllStringSubmatch(source, -1))
		if said := events(section, "push"); !reflect.DeepEqual(said, handled) {
			t.Errorf("docs/types.md says that %s takes %v, it takes %v", name, said, handled)
		}
		var told []string // by the answer to an unknown event
		for _, m := range regexp.MustCompile(`(?:unknown event %q: an? \w+ takes |noSuchEvent\(")([\w, ]+)"`).FindAllStringSubmatch(source, -1) {
			told = append(told, strings.FieldsFunc(strings.ReplaceAll(m[1], " and ", ","), func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		slices.Sort(told)
		if told = slices.Compact(told); !slices.Equal(told, handled) {
			t.Errorf("an unknown event is answered with %v, but %s takes %v", told, name, handled)
		}
		sent := sorted(regexp.MustCompile(`(?:Broadcast|BroadcastFrom|Push|PushFresh)\((?:topic, |one\.topic, )?"(\w+)"`).FindAllStringSubmatch(source, -1))
		if said := events(section, "receive"); !reflect.DeepEqual(said, sent) {
			t.Errorf("docs/types.md says that %s sends %v, it sends %v", name, said, sent)
		}
		for _, signal := range events(section, "signal") {
			if !strings.Contains(source, fmt.Sprintf("case %q:", signal)) && !strings.Contains(source, fmt.Sprintf("%q: l.signal", signal)) {
				t.Errorf("docs/types.md names the signal %s, which %s does not take", signal, name)
			}
		}
	}
}

// The hooks that it names are those of the package instances, with their methods.
func TestTypesHooks(t *testing.T) {
	section := sectionOf(t, "Your own")
	source := read(t, "instances/type.go")
	rows := regexp.MustCompile("(?m)^\\| ((?:`\\w+`(?:, )?)+) \\| ((?:`\\w+`(?:, )?)+) \\|").FindAllStringSubmatch(section, -1)
	var said []string
	for _, row := range rows {
		for _, hook := range words(row[1]) {
			said = append(said, hook)
			_, body, found := strings.Cut(source, "type "+hook)
			body, _, _ = strings.Cut(body, "\n}")
			for _, method := range words(row[2]) {
				if !found || hook != "QuickConnector" && !strings.Contains(body, "\t"+method+"(") {
					t.Errorf("docs/types.md names %s.%s, which is not there", hook, method)
				}
			}
		}
	}
	slices.Sort(said)
	there := sorted(regexp.MustCompile(`(?m)^type (\w+(?:er|or))(?:\[C any\])? interface`).FindAllStringSubmatch(source, -1))
	if !reflect.DeepEqual(said, there) {
		t.Errorf("docs/types.md names the hooks %v, there are %v", said, there)
	}
}

func sectionOf(t *testing.T, name string) string {
	t.Helper()
	_, section, found := strings.Cut(read(t, "docs/types.md"), "\n## "+name+"\n")
	if !found {
		t.Fatalf("docs/types.md has no section %q", name)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// packageOf is the code of a ready type, without its tests.
func packageOf(t *testing.T, name string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(root, "instances", name, "*.go"))
	var all strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// events are those of the rows of one kind.
func events(section, kind string) []string {
	var names [][]string
	for _, row := range regexp.MustCompile("(?m)^\\| "+kind+" \\| ((?:`\\w+`(?:, )?)+) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range words(row[1]) {
			names = append(names, []string{"", name})
		}
	}
	return sorted(names)
}

func words(cell string) []string { return strings.Split(strings.ReplaceAll(cell, "`", ""), ", ") }

// sorted are the first groups of matches, each once.
func sorted(matches [][]string) []string {
	var names []string
	for _, m := range matches {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
