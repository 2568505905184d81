package config

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyLines returns the line of each key of a file that can be parsed. If a key occurs
// twice, it is the later line.
func keyLines(name string, text []byte) map[string]int {
	lines := map[string]int{}
	if strings.EqualFold(filepath.Ext(name), ".toml") {
		tomlLines(lines, text)
		return lines
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) == nil {
		for _, n := range document.Content {
			yamlLines(lines, "", n)
		}
	}
	return lines
}

func yamlLines(lines map[string]int, prefix string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := prefix + n.Content[i].Value
			lines[key] = n.Content[i].Line
			yamlLines(lines, key+delimiter, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, element := range n.Content {
			key := prefix + strconv.Itoa(i)
			lines[key] = element.Line
			yamlLines(lines, key+delimiter, element)
		}
	}
}

// tomlLines recognizes the common forms: [section], [[list]] and key = value. The line
// of a key inside a value of several lines may be missing or wrong.
func tomlLines(lines map[string]int, text []byte) {
	prefix := ""
	lists := map[string]int{} // the index of the last element of each [[list]]
	for i, line := range bytes.Split(text, []byte("\n")) {
		words := strings.TrimSpace(string(line))
		if list, ok := strings.CutPrefix(words, "[["); ok {
			list, _, _ = strings.Cut(list, "]")
			key := inLists(lists, tomlKey(list))
			n, again := lists[key]
			if again {
				n++
			} else {
				lines[key] = i + 1
			}
			lists[key] = n
			prefix = key + delimiter + strconv.Itoa(n)
			lines[prefix] = i + 1
			prefix += delimiter
			continue
		}
		if section, ok := strings.CutPrefix(words, "["); ok {
			section, _, _ = strings.Cut(section, "]")
			prefix = inLists(lists, tomlKey(section)) + delimiter
			continue
		}
		if key, _, ok := strings.Cut(words, "="); ok && !strings.HasPrefix(words, "#") {
			lines[strings.TrimPrefix(prefix+tomlKey(key), delimiter)] = i + 1
		}
	}
}

// inLists puts the index of the last element behind each list that a key leads
// through: instances.config becomes instances.2.config.
func inLists(lists map[string]int, key string) string {
	path := ""
	parts := strings.Split(key, delimiter)
	for i, part := range parts {
		path = strings.TrimPrefix(path+delimiter+part, delimiter)
		if n, ok := lists[path]; ok && i+1 < len(parts) {
			path += delimiter + strconv.Itoa(n)
		}
	}
	return path
}

// tomlKey is a key without its quotes and the spaces around its dots.
func tomlKey(key string) string {
	parts := strings.Split(key, delimiter)
	for i, p := range parts {
		parts[i] = strings.Trim(p, " \t\"'")
	}
	return strings.Join(parts, delimiter)
}
