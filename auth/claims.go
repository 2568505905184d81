package auth

import (
	"encoding/json"
	"strings"
)

// Claims are the claims of a token. Values are those of encoding/json, with
// numbers as json.Number; the atoms of a Phoenix.Token are strings. Claims are
// shared and must not be modified.
type Claims map[string]any

// Lookup returns a claim by name, or a nested claim by its names from the
// outermost on, separated by dots: "channels.join". A name that contains dots
// itself, such as "https://example.com/roles", is found first.
func (c Claims) Lookup(path string) (any, bool) {
	if v, ok := c[path]; ok {
		return v, true
	}
	first, rest, nested := strings.Cut(path, ".")
	if !nested {
		return nil, false
	}
	inner, ok := c[first].(map[string]any)
	if !ok {
		return nil, false
	}
	return Claims(inner).Lookup(rest)
}

// Text returns a claim that is a string, a number or a boolean, as text.
func (c Claims) Text(path string) (string, bool) {
	v, _ := c.Lookup(path)
	switch v := v.(type) {
	case string:
		return v, v != ""
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// list returns a claim that is a list of strings or one string.
func (c Claims) list(path string) ([]string, *RefusedError) {
	v, found := c.Lookup(path)
	if !found || v == nil {
		return nil, nil
	}
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	values, ok := v.([]any)
	if !ok {
		return nil, refused(Malformed, "claim "+path+" is not a list of topic patterns")
	}
	if len(values) > maxPatterns {
		return nil, refused(Malformed, "claim "+path+" has too many topic patterns")
	}
	list := make([]string, len(values))
	for i, v := range values {
		if list[i], ok = v.(string); !ok {
			return nil, refused(Malformed, "claim "+path+" has a topic pattern that is not a string")
		}
	}
	return list, nil
}
