package config

import (
	"flag"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
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

// TestTableAndConfigAgree: each row has a field and each field a row, but for limits that
// only a program can set, and what is no option.
func TestTableAndConfigAgree(t *testing.T) {
	fields := map[any]string{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for f, field := range v.Fields() {
			switch {
			case !f.IsExported():
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
		if !field.IsValid() || !field.CanSet() {
			t.Errorf("%s has no field in Config", o.key)
			continue
		}
		if value, _ := o.kind.parse(o.words(o.example)); reflect.TypeOf(value) != field.Type() {
			t.Errorf("%s is a %T, and its field a %s", o.key, value, field.Type())
		}
		delete(fields, field.Addr().Interface())
	}
	none := []string{"APIKeys", "File", "Instances", "Warnings"}
	if got := slices.Sorted(maps.Values(fields)); !slices.Equal(got, none) {
		t.Errorf("the fields %q have no row in the table, want %q", got, none)
	}
}

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

// TestTexts compares the help text and the reference with testdata, where
// they can be read; go test -rewrite writes them.
func TestTexts(t *testing.T) {
	for name, text := range map[string]string{"testdata/help.txt": Help(), "testdata/options.md": Markdown()} {
		if *rewrite {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s is not what the table says; go test ./internal/config -rewrite", name)
		}
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
