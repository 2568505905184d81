package instances

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/units"
)

// Spec describes an instance: what its creator wants it to be.
type Spec struct {
	// ID is where clients connect, below the manager's path: 1 to 64 characters of A-Z,
	// a-z, 0-9, "_" and "-". If it is empty, the manager makes a random one.
	ID string `json:"id" jsonschema:"pattern=^[A-Za-z0-9_-]{0\\,64}$"`
	// Type is the name of one of the server's types (see [Manager.Register]).
	Type string `json:"type" jsonschema:"required"`
	// Config is the configuration of the type, checked against the type's schema. The
	// default is {}.
	Config json.RawMessage `json:"config,omitempty"`
	// Labels are what instances can be looked up by (see [Filter]). There are at most 32,
	// with keys of 1 to 63 characters of A-Z, a-z, 0-9, "_", "-", "." and "/", and values
	// of at most 255 bytes.
	Labels map[string]string `json:"labels,omitempty"`
	// Limits bound the instance as a whole and each of its sockets.
	Limits Limits `json:"limits,omitzero"`
	// History says what is recorded, so that clients that come back are sent what they
	// missed. By default nothing is.
	History []HistoryRule `json:"history,omitempty"`
	// Auth says who may connect, in a form of the server's own (see [Options]). If it is
	// empty, what the server does by default applies.
	Auth json.RawMessage `json:"auth,omitempty"`
	// Hooks are back ends that decide about the instance's clients or are told of them, in
	// a form of the server's own (see [Options]). A change applies to clients that connect
	// afterwards.
	Hooks json.RawMessage `json:"hooks,omitempty"`
	// IdleTTL ends and removes the instance after nobody has been connected for that
	// long. The default is never.
	IdleTTL units.Duration `json:"idle_ttl,omitzero"`
}

// Bounds of a Spec.
const (
	maxID         = 64
	maxLabels     = 32
	maxLabelKey   = 63
	maxLabelValue = 255
	// maxConfig bounds a configuration in bytes: it is kept in memory and in
	// the store, and shown by the API.
	maxConfig = 64 << 10
)

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// reserved are ids that would clash with paths of the default instance.
var reserved = map[string]bool{"websocket": true, "longpoll": true}

// newID returns a random id that is easy to read aloud.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// check returns everything that is wrong with a spec, except its type and
// config. It fills in an empty id.
func (s *Spec) check() fielderr.List {
	if s.ID == "" {
		s.ID = newID()
	}
	var wrong fielderr.List
	switch {
	case !made(s.ID, maxID, idAlphabet):
		wrong.Add("/id", "must be 1 to %d characters of A-Z, a-z, 0-9, _ and -", maxID)
	case reserved[s.ID]:
		wrong.Add("/id", "%q is taken by the paths of the default instance: choose another", s.ID)
	}
	if len(s.Labels) > maxLabels {
		wrong.Add("/labels", "has %d labels, at most %d are allowed", len(s.Labels), maxLabels)
	}
	for key, value := range s.Labels {
		if !made(key, maxLabelKey, idAlphabet+"./") {
			wrong.Add("/labels/"+fielderr.Escape(key), "the key must be 1 to %d characters of A-Z, a-z, 0-9, _, -, . and /", maxLabelKey)
		}
		if len(value) > maxLabelValue {
			wrong.Add("/labels/"+fielderr.Escape(key), "has %d bytes, at most %d are allowed", len(value), maxLabelValue)
		}
	}
	if s.IdleTTL < 0 {
		wrong.Add("/idle_ttl", "must not be negative; leave it out for an instance that stays")
	}
	if len(s.Config) > maxConfig {
		wrong.Add("/config", "has %d bytes, at most %d are allowed", len(s.Config), maxConfig)
	}
	if len(s.Hooks) > maxConfig {
		wrong.Add("/hooks", "has %d bytes, at most %d are allowed", len(s.Hooks), maxConfig)
	}
	for _, f := range s.Limits.fields() {
		if *f.spec < 0 {
			wrong.Add("/limits/"+f.name, "must not be negative; 0 or leaving it out is the server's default")
		}
	}
	return append(wrong, checkHistory(s.History)...)
}

// made reports whether text consists of 1 to most characters of alphabet.
func made(text string, most int, alphabet string) bool {
	return text != "" && len(text) <= most &&
		!strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(alphabet, r) })
}

func validType(name string) bool {
	return made(name, 64, "abcdefghijklmnopqrstuvwxyz0123456789-")
}

// clone returns a deep copy of s.
func (s Spec) clone() Spec {
	s.Config, s.Auth, s.Hooks, s.Labels = bytes.Clone(s.Config), bytes.Clone(s.Auth), bytes.Clone(s.Hooks), maps.Clone(s.Labels)
	s.History = cloneHistory(s.History)
	return s
}

// normalize writes the JSON fields in canonical form, so that equal specs have
// equal bytes.
func (s *Spec) normalize() error {
	for _, field := range []struct {
		name string
		json *json.RawMessage
	}{{"/config", &s.Config}, {"/auth", &s.Auth}, {"/hooks", &s.Hooks}} {
		if len(*field.json) == 0 || string(*field.json) == "null" {
			*field.json = nil
			continue
		}
		var value any
		d := json.NewDecoder(bytes.NewReader(*field.json))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			return fielderr.New(field.name, "is not valid JSON: %v", err)
		}
		text, err := json.Marshal(value) // keys in order
		if err != nil {
			return err
		}
		*field.json = text
	}
	if string(s.Config) == "{}" {
		s.Config = nil
	}
	if string(s.Hooks) == "[]" {
		s.Hooks = nil
	}
	if len(s.Labels) == 0 {
		s.Labels = nil
	}
	if len(s.History) == 0 {
		s.History = nil
	}
	return nil
}

// differs names the fields in which two normalized specs differ.
func (s *Spec) differs(other *Spec) (fields []string) {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"type", s.Type == other.Type},
		{"config", bytes.Equal(s.Config, other.Config)},
		{"labels", maps.Equal(s.Labels, other.Labels)},
		{"limits", s.Limits == other.Limits},
		{"history", equalHistory(s.History, other.History)},
		{"auth", bytes.Equal(s.Auth, other.Auth)},
		{"hooks", bytes.Equal(s.Hooks, other.Hooks)},
		{"idle_ttl", s.IdleTTL == other.IdleTTL},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}
