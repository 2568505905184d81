package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Name returns the name of an option for an error. If the value is not the default,
// the name says where it came from: "data (from file mycelium.yaml:3)".
func (c *Config) Name(key string) string {
	if origin := c.origins[key]; origin != "" {
		return fmt.Sprintf("%s (from %s)", key, origin)
	}
	return key
}

// Place returns, for an error, the place of an element of APIKeys ("api.keys"), HistoryRules
// ("history.rules"), Hooks ("hooks") or Instances ("instances"), or of the field in it that a
// JSON pointer names: "mycelium.yaml:12: instances[0].limits.max_message".
func (c *Config) Place(list string, index int, pointer string) string {
	name := fmt.Sprintf("%s[%d]", list, index)
	key := list + delimiter + strconv.Itoa(index)
	line := 0
	if c.lists != nil {
		line = c.lists.lines[list]
		if own := c.lists.lines[key]; own > 0 {
			line = own
		}
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if token == "" {
			continue
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		name += delimiter + token
		key += delimiter + token
		if c.lists != nil && c.lists.lines[key] > 0 {
			line = c.lists.lines[key]
		}
	}
	switch {
	case c.lists == nil:
		return name
	case line == 0:
		return fmt.Sprintf("%s: %s", c.lists.name, name)
	}
	return fmt.Sprintf("%s:%d: %s", c.lists.name, line, name)
}

// Refused reports whether the value of an option whose key begins with one of these
// prefixes was wrong, so that c has another value than the intended one.
func (c *Config) Refused(prefixes ...string) bool {
	for key := range c.refused {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			return true
		}
	}
	return false
}
