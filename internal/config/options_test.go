package config

import (
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestTable: every row is whole, its default and example are right, and no
// two options share a name.
func TestTable(t *testing.T) {
	seen := map[string]string{}
	claim := func(name, key string) {
		if other, ok := seen[name]; ok {
			t.Errorf("%s is %s and %s", name, other, key)
		}
		seen[name] = key
	}
	for _, o := range options {
		claim("--"+o.flag(), o.key)
		claim(o.env(), o.key)
		for _, word := range o.also {
			claim("the word "+word, o.key)
		}
		if !regexp.MustCompile(`^([a-z]+\.)?[a-z_]+$`).MatchString(o.key) {
			t.Errorf("%s is no key", o.key)
		}
		if !strings.HasSuffix(o.help, ".") || o.kind.takes == "" || o.kind.word == "" || o.example == "" {
			t.Errorf("%s: an incomplete row: %+v", o.key, o)
		}
		for _, text := range []string{o.def, o.example} {
			if _, wrong := o.kind.parse(o.words(text)); wrong != "" {
				t.Errorf("%s: %q %s", o.key, text, wrong)
			}
		}
		if serviceLink.MatchString(o.env()) {
			t.Errorf("%s is taken for a variable of Kubernetes", o.env())
		}
	}
}

// TestTableAndConfigAgree: each row has a field of its type and each field a row, but for
// limits that only a program can set, and what is no option.
func TestTableAndConfigAgree(t *testing.T) {
	fields := map[any]string{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for f, field := range v.Fields() {
			switch {
			case !f.IsExported() || f.Type == reflect.TypeFor[channels.Limits]():
			case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[CheckOrigin]():
				walk(field, path+f.Name+".")
			default:
				fields[field.Addr().Interface()] = path + f.Name
			}
		}
	}
	c := new(Config)
	walk(reflect.ValueOf(c).Elem(), "")
	for _, o := range options {
		field := c.field(o)
		if value, _ := o.kind.parse(o.words(o.example)); reflect.TypeOf(value) != field.Type() {
			t.Errorf("%s is a %T, and its field a %s", o.key, value, field.Type())
		}
		delete(fields, field.Addr().Interface())
	}
	none := []string{"APIKeys", "File", "HistoryRules", "Hooks", "Instances", "Warnings"}
	if got := slices.Sorted(maps.Values(fields)); !slices.Equal(got, none) {
		t.Errorf("without a row in the table: %q, want %q", got, none)
	}
}

// TestDefaultsOfPrograms: a limit that a program leaves out is what it is without the option,
// but for those that the server has for clients that nobody knows.
func TestDefaultsOfPrograms(t *testing.T) {
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Shutdown(t.Context()) })
	program := reflect.ValueOf(endpoint.Limits())
	var differ []string
	for _, o := range inSection("limits") {
		name := strings.TrimPrefix(o.key, "limits.")
		field := program.FieldByNameFunc(func(goName string) bool { return isNameOf(goName, name) })
		if value, _ := o.kind.parse(o.words(o.def)); field.IsValid() && !field.Equal(reflect.ValueOf(value)) {
			differ = append(differ, name)
		}
	}
	want := []string{
		"max_message", // Phoenix's are 8 MB and 10 MB
		"joins_per_second", "messages_per_second", "heartbeats_per_second",
		"handshake_wait",
	}
	if !slices.Equal(differ, want) {
		t.Errorf("the defaults of %q differ, want %q", differ, want)
	}
}

// TestZeroOfPrograms: an option may be 0 only if a zero field of channels.Limits means 0
// too, and not a default.
func TestZeroOfPrograms(t *testing.T) {
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Shutdown(t.Context()) })
	defaults := reflect.ValueOf(endpoint.Limits())
	for _, o := range inSection("limits") {
		name := strings.TrimPrefix(o.key, "limits.")
		field := defaults.FieldByNameFunc(func(goName string) bool { return isNameOf(goName, name) })
		if _, wrong := o.kind.parse([]string{"0"}); wrong == "" && field.IsValid() && !field.IsZero() {
			t.Errorf("%s may be 0, which channels.Limits takes for its default of %v: let the option begin at 1", o.key, field)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write what is made from the table anew")

// made compares a file with what the table makes of it; go test -rewrite writes it.
func made(t *testing.T, name, text string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := os.ReadFile(name); err != nil || string(found) != text {
		t.Errorf("%s is not what the table says (%v): run make generate", name, err)
	}
}

// TestTexts: the help is in testdata, where it can be read; internal/docs does the same
// with the reference.
func TestTexts(t *testing.T) {
	made(t, "testdata/help.txt", Help())
	for name, text := range map[string]string{"the help": Help(), "the reference": Markdown()} {
		for _, o := range withFileOption() {
			if !strings.Contains(text, "--"+o.flag()) {
				t.Errorf("%s does not name --%s", name, o.flag())
			}
		}
	}
	for line := range strings.Lines(Help()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpColumns {
			t.Errorf("%d columns in the help text: %s", n, line)
		}
	}
	for line := range strings.Lines(Markdown()) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 6 {
			t.Errorf("a row of the reference is broken: %s", line)
		}
	}
}

// TestLimitsOfSpecs makes instances.Limits from the rows that the spec of an instance
// may have too.
func TestLimitsOfSpecs(t *testing.T) {
	var fields, table strings.Builder
	for _, o := range inSection("limits") {
		name := strings.TrimPrefix(o.key, "limits.")
		field, ok := reflect.TypeFor[channels.Limits]().FieldByNameFunc(func(goName string) bool { return isNameOf(goName, name) })
		switch {
		case !o.spec:
			continue
		case !ok || field.Type.Kind() != reflect.Int || o.kind.most == 0 || !o.live:
			t.Errorf("%s cannot be a limit of a spec: it takes a live number or size, and a field of channels.Limits", o.key)
			continue
		}
		the, found := strings.CutPrefix(o.help, "The ")
		if !found {
			t.Errorf("the help of %s begins without The: it becomes a Go comment, %s is the …", o.key, field.Name)
		}
		writeWrapped(&fields, "\t// ", field.Name+" is the "+the)
		goType := "int"
		if o.kind.word == sizeWord {
			goType = "units.Bytes"
		}
		fmt.Fprintf(&fields, "\t%s %s `json:\"%s,omitempty\" jsonschema:\"minimum=0,maximum=%d\"`\n", field.Name, goType, name, o.kind.most)
		fmt.Fprintf(&table, "\t\t{%q, %d, (*int)(&l.%[3]s), func(c *channels.Limits) *int { return &c.%[3]s }},\n", name, o.kind.most, field.Name)
	}
	code, err := format.Source(fmt.Appendf(nil, limitsFile, fields.String(), table.String()))
	if err != nil {
		t.Fatal(err)
	}
	made(t, "../../instances/limits_fields.go", string(code))
}

const limitsFile = `// Code generated by "make generate" from internal/config/options.go. DO NOT EDIT.

package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/units"
)

// Limits bound what an instance and its clients may use. 0 is the server's limit of
// the same name, and none may be above it (see [Options]).
type Limits struct {
%s}

func (l *Limits) fields() []limitField {
	return []limitField{
%s	}
}
`
