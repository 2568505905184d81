package instances

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Spec is what somebody wants an instance to be.
type Spec struct {
	// ID is 1 to 64 characters of A-Z, a-z, 0-9, "_" and "-"; empty: a random
	// one. Clients connect to it below the manager's path.
	ID string `json:"id"`
	// Type is the name of a registered [Type].
	Type string `json:"type"`
	// Config is for the type, checked by its schema; empty: {}.
	Config json.RawMessage `json:"config,omitempty"`
	// Labels are for whoever looks for instances: [Filter]. At most 32, keys of
	// 1 to 63 characters of A-Z, a-z, 0-9, "_", "-", "." and "/", values of at
	// most 255 bytes.
	Labels map[string]string `json:"labels,omitempty"`
	// Limits bound the instance as a whole and each of its sockets.
	Limits Limits `json:"limits,omitzero"`
	// Auth says who may connect, in the words of Options.Sockets; empty: as the
	// server does where nothing is said.
	Auth json.RawMessage `json:"auth,omitempty"`
	// IdleTTL ends and removes the instance when nobody has been connected for
	// so long; 0: never.
	IdleTTL Duration `json:"idle_ttl,omitzero"`
}

// Limits bound what an instance and its clients may use; 0 is the default of
// the manager's Options.Limits, which has the same meaning field by field.
type Limits struct {
	// MaxConnections bounds the sockets of the instance; more get 503.
	MaxConnections int `json:"max_connections,omitempty"`
	// MaxConnectionsPerAddress bounds those of one IP address.
	MaxConnectionsPerAddress int `json:"max_connections_per_address,omitempty"`
	// HandshakesPerSecond is the rate at which sockets are admitted.
	HandshakesPerSecond int `json:"handshakes_per_second,omitempty"`
	// MaxChannels is how many channels one socket may have joined.
	MaxChannels int `json:"max_channels,omitempty"`
	// MaxMessage is the size in bytes of the largest message of a client.
	MaxMessage int `json:"max_message,omitempty"`
	// JoinsPerSecond, MessagesPerSecond and BytesPerSecond are rates of one socket.
	JoinsPerSecond    int `json:"joins_per_second,omitempty"`
	MessagesPerSecond int `json:"messages_per_second,omitempty"`
	BytesPerSecond    int `json:"bytes_per_second,omitempty"`
	// HeartbeatsPerSecond is a rate of one socket too, of heartbeats, pings and
	// what is refused: a socket above it is not read for a while.
	HeartbeatsPerSecond int `json:"heartbeats_per_second,omitempty"`
	// TotalJoinsPerSecond, TotalMessagesPerSecond and TotalBytesPerSecond are
	// rates of all sockets of the instance together.
	TotalJoinsPerSecond    int `json:"total_joins_per_second,omitempty"`
	TotalMessagesPerSecond int `json:"total_messages_per_second,omitempty"`
	TotalBytesPerSecond    int `json:"total_bytes_per_second,omitempty"`
}

// over puts l's limits over those of base.
func (l Limits) over(base channels.Limits) channels.Limits {
	for _, f := range []struct {
		to    *int
		value int
	}{
		{&base.MaxConnections, l.MaxConnections}, {&base.MaxConnectionsPerAddress, l.MaxConnectionsPerAddress},
		{&base.HandshakesPerSecond, l.HandshakesPerSecond}, {&base.ChannelsPerSocket, l.MaxChannels},
		{&base.MessageBytes, l.MaxMessage},
		{&base.JoinsPerSecond, l.JoinsPerSecond}, {&base.MessagesPerSecond, l.MessagesPerSecond},
		{&base.BytesPerSecond, l.BytesPerSecond}, {&base.HeartbeatsPerSecond, l.HeartbeatsPerSecond},
		{&base.TotalJoinsPerSecond, l.TotalJoinsPerSecond}, {&base.TotalMessagesPerSecond, l.TotalMessagesPerSecond},
		{&base.TotalBytesPerSecond, l.TotalBytesPerSecond},
	} {
		if f.value != 0 {
			*f.to = f.value
		}
	}
	return base
}

// Duration is a time.Duration that JSON has as text: "90s", "5m", "1h30m".
// Types may use it in their configurations.
type Duration time.Duration

// MarshalText writes it as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it like \"90s\" or \"5m\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// JSONSchema is what a schema says of a Duration.
func (Duration) JSONSchema() *durationSchema { return newDurationSchema() }

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

// reserved are the ids that a path to the default instance has in their place.
var reserved = map[string]bool{"websocket": true, "longpoll": true}

// newID is a random id that is easy to read aloud.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// check says all that is wrong with a spec but its type and config. It fills
// in the id.
func (s *Spec) check() []FieldError {
	if s.ID == "" {
		s.ID = newID()
	}
	var wrong []FieldError
	add := func(field, format string, args ...any) {
		wrong = append(wrong, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	switch {
	case !made(s.ID, maxID, idAlphabet):
		add("/id", "must be 1 to %d characters of A-Z, a-z, 0-9, _ and -", maxID)
	case reserved[s.ID]:
		add("/id", "%q is taken by the paths of the default instance: choose another", s.ID)
	}
	if len(s.Labels) > maxLabels {
		add("/labels", "has %d labels, at most %d are possible", len(s.Labels), maxLabels)
	}
	for key, value := range s.Labels {
		if !made(key, maxLabelKey, idAlphabet+"./") {
			add("/labels/"+pointerEscape(key), "the key must be 1 to %d characters of A-Z, a-z, 0-9, _, -, . and /", maxLabelKey)
		}
		if len(value) > maxLabelValue {
			add("/labels/"+pointerEscape(key), "has %d bytes, at most %d are possible", len(value), maxLabelValue)
		}
	}
	if s.IdleTTL < 0 {
		add("/idle_ttl", "must not be negative; leave it out for an instance that stays")
	}
	if len(s.Config) > maxConfig {
		add("/config", "has %d bytes, at most %d are possible", len(s.Config), maxConfig)
	}
	limits := reflect.ValueOf(s.Limits)
	for i := range limits.NumField() {
		if limits.Field(i).Int() < 0 {
			name, _, _ := strings.Cut(limits.Type().Field(i).Tag.Get("json"), ",")
			add("/limits/"+name, "must not be negative; 0 or leaving it out is the server's default")
		}
	}
	return wrong
}

// made tells that text is 1 to most characters of alphabet.
func made(text string, most int, alphabet string) bool {
	return text != "" && len(text) <= most &&
		!strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(alphabet, r) })
}

func validType(name string) bool {
	return made(name, 64, "abcdefghijklmnopqrstuvwxyz0123456789-")
}

func pointerEscape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// clone shares nothing with s that could be modified.
func (s Spec) clone() Spec {
	s.Config, s.Auth, s.Labels = bytes.Clone(s.Config), bytes.Clone(s.Auth), maps.Clone(s.Labels)
	return s
}

// normalize writes JSON in its shortest form, so that equal specs are equal bytes.
func (s *Spec) normalize() error {
	for _, field := range []struct {
		name string
		json *json.RawMessage
	}{{"/config", &s.Config}, {"/auth", &s.Auth}} {
		if len(*field.json) == 0 || string(*field.json) == "null" {
			*field.json = nil
			continue
		}
		var value any
		d := json.NewDecoder(bytes.NewReader(*field.json))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			return &InvalidError{Fields: []FieldError{{Field: field.name, Reason: "is not valid JSON: " + err.Error()}}}
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
	if len(s.Labels) == 0 {
		s.Labels = nil
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
		{"auth", bytes.Equal(s.Auth, other.Auth)},
		{"idle_ttl", s.IdleTTL == other.IdleTTL},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}
