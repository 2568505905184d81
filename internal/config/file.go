package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// configFile is a file that has been parsed.
type configFile struct {
	name string
	// values are what the parser returned, by key.
	values map[string]any
	// lines are the line numbers of the keys, as far as they are known.
	lines map[string]int
	// twice are keys that occur in two forms: in YAML, "log.level: x" and
	// "log: {level: x}".
	twice []string
}

// readFile returns the words of the file by option.
func (l *loader) readFile(name, origin string) (words, *configFile) {
	var parse func(text []byte, into any) error
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		parse = yaml.Unmarshal
	case ".toml":
		parse = toml.Unmarshal
	default:
		l.problem("config: %s (from %s) has an unknown extension; it takes %s, for example %s",
			shown(name), origin, fileOption.kind.takes, fileOption.example)
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		l.problem("config: %s (from %s) cannot be read: %v", shown(name), origin, reason(err))
		return nil, nil
	}
	var parsed map[string]any
	if err := parse(text, &parsed); err != nil {
		l.problem("%s: %s", name, parseProblem(err))
		return nil, nil
	}
	f := &configFile{name: name, values: map[string]any{}, lines: keyLines(name, text)}
	f.flatten("", parsed)
	l.takeLists(f)
	return l.fileWords(f), f
}

// reason returns the error without the path, which the problem already names.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// parseProblem returns the parser's message, unless that repeats the text of the
// file, which may contain secrets.
func parseProblem(err error) string {
	const notMap = "is not a mapping of keys to values, such as listen: \":4000\""
	if strings.Contains(err.Error(), "cannot unmarshal") {
		return notMap
	}
	return "cannot be parsed: " + strings.ReplaceAll(err.Error(), "\n", " ")
}

func (f *configFile) flatten(prefix string, section map[string]any) {
	for name, value := range section {
		key := prefix + name
		switch value := value.(type) {
		case map[string]any:
			f.flatten(key+delimiter, value)
			if len(value) > 0 || isSection(key) {
				continue
			}
		case map[any]any:
			// A section of YAML with a key that is not a string.
			named := make(map[string]any, len(value))
			for k, v := range value {
				named[fmt.Sprint(k)] = v
			}
			f.flatten(key+delimiter, named)
			continue
		case nil:
			if isSection(key) {
				continue
			}
		}
		if _, ok := f.values[key]; ok {
			f.twice = append(f.twice, key)
		}
		f.values[key] = value
	}
}

func isSection(key string) bool {
	return slices.ContainsFunc(options, func(o *option) bool { return o.section() == key })
}

// fileWords turns the values of f into words and reports keys that are not
// options.
func (l *loader) fileWords(f *configFile) words {
	byKey := map[string]*option{}
	for _, o := range options {
		byKey[o.key] = o
	}
	keys := make([]string, 0, len(f.values))
	for key := range f.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	values := words{}
	for _, key := range keys {
		o := byKey[key]
		switch {
		case isList(key) && !slices.Contains(f.twice, key):
		case o == nil:
			l.unknownKey(f, key)
		case slices.Contains(f.twice, key):
			l.problem("%s: %s is set twice; remove one", f.name, key)
		case f.values[key] != nil:
			w, wrong := fileValue(o, f.values[key])
			if wrong != "" {
				l.problem("%s: the value (from %s) %s; it takes %s, for example %s",
					o.key, f.origin(o), wrong, o.kind.takes, o.example)
				continue
			}
			values[key] = w
		}
	}
	return values
}

// fileValue returns the words of a parsed value, or what is wrong with its form.
func fileValue(o *option, value any) (words []string, wrong string) {
	elements, isList := value.([]any)
	switch {
	case isList && !o.kind.list:
		return nil, "is a list"
	case !isList:
		text, ok := scalar(value)
		if !ok {
			return nil, "is not a plain value"
		}
		return o.words(text), ""
	}
	words = make([]string, len(elements))
	for i, e := range elements {
		text, ok := scalar(e)
		if !ok {
			return nil, "has an element that is not a plain value"
		}
		words[i] = text
	}
	return words, ""
}

// scalar returns value as it would be written. If an option takes a string and the
// file has a number (listen: 4000), the option's kind reports it.
func scalar(value any) (string, bool) {
	switch value.(type) {
	case string, bool, int, int64, uint64, float64:
		return fmt.Sprint(value), true
	}
	return "", false
}

func (l *loader) unknownKey(f *configFile, key string) {
	at := f.at(key)
	for _, o := range options {
		if strings.HasPrefix(key, o.key+delimiter) {
			l.problem("%s: %s is inside %s, which is not a section; %s takes %s, for example %s",
				at, shown(key), o.key, o.key, o.kind.takes, o.example)
			return
		}
	}
	switch o := nearest(key, options); {
	case isSection(key):
		l.problem("%s: %s is a section and takes no value of its own; %s lists what is in it", at, shown(key), helpCommand)
	case o != nil:
		l.problem("%s: unknown key %s; did you mean %s?", at, shown(key), o.key)
	default:
		l.problem("%s: unknown key %s; %s lists the options", at, shown(key), helpCommand)
	}
}

func (f *configFile) origin(o *option) string { return "file " + f.at(o.key) }

// at is the place of key: the file, with the line if it is known.
func (f *configFile) at(key string) string {
	if line := f.lines[key]; line > 0 {
		return fmt.Sprintf("%s:%d", f.name, line)
	}
	return f.name
}

// atElement is the place of an element of a list.
func (f *configFile) atElement(key string, i int) string {
	if element := key + delimiter + strconv.Itoa(i); f.lines[element] > 0 {
		return f.at(element)
	}
	return f.at(key)
}

// fileOption is not in the table because a file cannot name another file.
var fileOption = &option{
	key: "config", kind: text("FILE", "the path of a .yaml, .yml or .toml file", nil),
	example: "mycelium.yaml",
	help:    "File with options, YAML or TOML by its extension.",
	also:    []string{"file", "conf", "config-file"},
}
