package collab

import (
	"encoding/json"
	"maps"
)

// registersChange sets keys; null removes one. In JSON: {"color": "red"}.
type registersChange map[string]json.RawMessage

// registers is a document that is a JSON object.
type registers struct {
	values map[string]json.RawMessage
	bytes  int // of keys and values
	most   int
}

// parse implements document.
func (r registers) parse(op json.RawMessage) (change, error) {
	var c registersChange
	if err := json.Unmarshal(op, &c); err != nil || c == nil {
		return nil, refuse("op is not an object of the keys to set")
	}
	return c, nil
}

// after implements change: the last change wins.
func (c registersChange) after(change) change { return c }

// parts implements change: the change does not depend on others.
func (c registersChange) parts() int { return 1 }

// bound implements document: each byte of a key or value may become \u0001.
func (r registers) bound() int { return 6*r.bytes + len(`"":,`)*len(r.values) + len("{}") }

// apply implements document.
func (r registers) apply(c change) (document, error) {
	next := registers{maps.Clone(r.values), r.bytes, r.most}
	if next.values == nil {
		next.values = make(map[string]json.RawMessage)
	}
	for key, value := range c.(registersChange) {
		if old, ok := next.values[key]; ok {
			next.bytes -= len(key) + len(old)
			delete(next.values, key)
		}
		if string(value) != "null" {
			next.bytes += len(key) + len(value)
			next.values[key] = value
		}
	}
	if next.bytes > r.most && next.bytes > r.bytes {
		return nil, refuse("the document would have %d bytes: at most %d are allowed", next.bytes, r.most)
	}
	return next, nil
}

// MarshalJSON implements change.
func (c registersChange) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]json.RawMessage(c))
}

// MarshalJSON implements document.
func (r registers) MarshalJSON() ([]byte, error) {
	if r.values == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(r.values)
}

// load implements document.
func (r registers) load(data []byte) (document, error) {
	c, err := r.parse(data)
	if err != nil {
		return nil, err
	}
	doc, err := registers{most: len(data)}.apply(c) // it was accepted, whatever the limit is now
	if err != nil {
		return nil, err
	}
	loaded := doc.(registers)
	loaded.most = r.most
	return loaded, nil
}
