package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mycelium-rt/mycelium/units"
)

// hidden replaces a secret that is set.
const hidden = "(hidden)"

// secretEnds are endings of keys whose values are never printed, even if the table
// does not mark them as secret.
var secretEnds = []string{"secret", "key", "token", "password"}

// YAML returns the configuration as a YAML file with every option. Secrets are hidden.
// With sources, each line says where its value came from.
func (c *Config) YAML(sources bool) (string, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{"": root}
	for _, o := range options {
		name := o.section()
		if sections[name] == nil {
			sections[name] = &yaml.Node{Kind: yaml.MappingNode}
			root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, sections[name])
		}
		var value yaml.Node
		if err := value.Encode(o.printed(c.field(o).Interface())); err != nil {
			return "", fmt.Errorf("config: printing %s: %w", o.key, err)
		}
		if o.guards && (value.Value == "" && len(value.Content) == 0) {
			value = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"} // an empty one would be refused
		}
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle // one line, for one comment
		}
		if sources {
			value.LineComment = c.source(o)
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: o.key[strings.LastIndexByte(o.key, '.')+1:]}
		sections[name].Content = append(sections[name].Content, key, &value)
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	err := encoder.Encode(root)
	return b.String(), err
}

func (c *Config) source(o *option) string {
	if origin, ok := c.origins[o.key]; ok {
		return origin
	}
	return "default"
}

// printed returns a value as a file would have it.
func (o *option) printed(value any) any {
	switch v := value.(type) {
	case string:
		if v != "" && o.hides() {
			return hidden
		}
	case time.Duration:
		return units.Duration(v).String()
	case int:
		if o.kind.word == sizeWord {
			return units.Bytes(v).String()
		}
	case []string:
		shown := make([]string, len(v))
		for i, text := range v {
			shown[i] = hidePassword(text)
			if address, _, found := strings.Cut(shown[i], "?"); found && o.key == "auth.jwks" {
				shown[i] = address + "?" + hidden
			}
		}
		return shown
	case CheckOrigin:
		if v.Mode != OriginList {
			return string(v.Mode)
		}
		return v.Origins
	}
	return value
}

func (o *option) hides() bool {
	return o.secret || slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(o.key, end) })
}
