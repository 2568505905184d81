package channels

import (
	"strings"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Params are the parameters in a URL's query, nested as Phoenix nests them:
// "a=1&b[c]=2&d[]=3" is {"a": "1", "b": {"c": "2"}, "d": ["3"]}. Leaves are
// strings, lists are []any, and objects are map[string]any. phoenix.js writes them
// (assets/js/phoenix/ajax.js, serialize).
type Params map[string]any

// Get returns a parameter that is a string, and "" for any other.
func (p Params) Get(key string) string {
	s, _ := p[key].(string)
	return s
}

// maxParamDepth bounds nesting, so that the cost of a query follows from its length.
const maxParamDepth = 32

// ParseParams returns the parameters of a URL's query, as Connect is given them:
// an application that needs them later keeps the query (URL.RawQuery of its
// [Request]), which takes a fraction of the memory. It never fails:
// what cannot be nested is left out, and a percent sign that begins no escape
// stands for itself.
func ParseParams(query string) Params {
	p := Params{}
	p.parse(query)
	return p
}

// parse adds what ParseParams finds.
func (p Params) parse(query string) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name = websocket.DecodeQuery(name); name != "" {
			p.set(name, websocket.DecodeQuery(value))
		}
	}
}

func (p Params) set(name, value string) {
	first, rest, nested := strings.Cut(name, "[")
	if !nested || first == "" || !strings.HasSuffix(rest, "]") {
		p[name] = value
		return
	}
	keys := strings.Split(strings.TrimSuffix(rest, "]"), "][")
	if len(keys) > maxParamDepth {
		return
	}
	p[first] = insert(p[first], keys, value)
}

// insert puts value below node at keys and returns the node. Of two values that
// exclude each other, the later one stays.
func insert(node any, keys []string, value string) any {
	if len(keys) == 0 {
		return value
	}
	if keys[0] == "" {
		list, _ := node.([]any)
		return append(list, insert(nil, keys[1:], value))
	}
	object, ok := node.(map[string]any)
	if !ok {
		object = make(map[string]any)
	}
	object[keys[0]] = insert(object[keys[0]], keys[1:], value)
	return object
}
