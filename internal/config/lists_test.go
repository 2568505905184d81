package config

import (
	"strings"
	"testing"
)

// Lists of objects come from a file of either form, as JSON.
func TestObjects(t *testing.T) {
	for name, text := range map[string]string{
		"c.yaml": "api:\n  keys:\n    - {name: a, scopes: [read]}\ninstances:\n  - id: lobby\n    config: {1: {x: y}}\n  - id: other\n",
		"c.toml": "[[api.keys]]\nname = \"a\"\nscopes = [\"read\"]\n[[instances]]\nid = \"lobby\"\n[instances.config.1]\nx = \"y\"\n[[instances]]\nid = \"other\"\n",
	} {
		c := load(t, []string{"--config=" + write(t, name, text)}, nil)
		if len(c.APIKeys) != 1 || string(c.APIKeys[0]) != `{"name":"a","scopes":["read"]}` {
			t.Errorf("%s: api.keys %s", name, c.APIKeys)
		}
		if len(c.Instances) != 2 || string(c.Instances[0]) != `{"config":{"1":{"x":"y"}},"id":"lobby"}` {
			t.Errorf("%s: instances %s", name, c.Instances)
		}
	}
	for text, want := range map[string]string{
		"instances: lobby\n":       "instances must be a list of objects",
		"instances: [lobby]\n":     "instances[0] is not an object",
		"api: {keys: {name: a}}\n": "api.keys.name",
		"api: {keyes: []}\n":       "api.keyes",
	} {
		_, err := Load([]string{"--config=" + write(t, "bad.yaml", text)}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
