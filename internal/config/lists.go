package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// lists are keys whose values are lists of objects: they are allowed in a file
// only, and what is in an object is checked by whoever it is for.
var lists = map[string]func(*Config) *[]json.RawMessage{
	"api.keys":      func(c *Config) *[]json.RawMessage { return &c.APIKeys },
	"hooks":         func(c *Config) *[]json.RawMessage { return &c.Hooks },
	"history.rules": func(c *Config) *[]json.RawMessage { return &c.HistoryRules },
	"instances":     func(c *Config) *[]json.RawMessage { return &c.Instances },
}

// takeLists copies the lists of a file into the configuration.
func (l *loader) takeLists(f *configFile) {
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		value, ok := f.values[key]
		if !ok || value == nil {
			continue
		}
		elements, ok := value.([]any)
		if !ok {
			l.problem("%s: %s must be a list of objects", f.at(key), key)
			continue
		}
		objects := make([]json.RawMessage, len(elements))
		for i, e := range elements {
			object, ok := named(e).(map[string]any)
			if !ok {
				l.problem("%s: %s[%d] is not an object: keys and values", f.atElement(key, i), key, i)
				continue
			}
			text, err := json.Marshal(object)
			if err != nil {
				l.problem("%s: %s[%d] cannot be taken: %v", f.at(key), key, i, err)
			}
			objects[i] = text
		}
		*lists[key](l.config) = objects
		l.config.lists = f
	}
}

func isList(key string) bool { return lists[key] != nil }

// named converts all keys of a parsed value to strings, as in JSON.
func named(value any) any {
	switch value := value.(type) {
	case map[any]any:
		object := make(map[string]any, len(value))
		for k, v := range value {
			object[fmt.Sprint(k)] = named(v)
		}
		return object
	case map[string]any:
		object := make(map[string]any, len(value))
		for k, v := range value {
			object[k] = named(v)
		}
		return object
	case []any:
		list := make([]any, len(value))
		for i, v := range value {
			list[i] = named(v)
		}
		return list
	}
	return value
}
