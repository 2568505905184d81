package realtime

import (
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// Config is the configuration of an instance.
type Config struct {
	Keys            []string       `json:"keys,omitempty" jsonschema:"description=API keys with which clients may connect and use public channels without a token: the publishable keys of Supabase. They are no secrets"`
	PrivateOnly     bool           `json:"private_only,omitempty" jsonschema:"description=refuse public channels"`
	PostgresChanges string         `json:"postgres_changes,omitempty" jsonschema:"enum=refuse,enum=system_error,description=what a join that asks for changes of a database gets: refuse (the default) refuses it; system_error lets it in and pushes a system message"`
	Window          units.Duration `json:"presence_window,omitempty" jsonschema:"description=how long presence diffs are gathered into one; at once if it is left out. It changes with a restart only"`
	ErrorDelay      units.Duration `json:"error_delay,omitempty" jsonschema:"description=how long a refused join waits for its answer: Supabase has 5s. Not at all if it is left out"`
	Limits          Limits         `json:"limits,omitzero" jsonschema:"description=limits with the messages of Supabase. Those that are left out do not exist"`
}

// Limits are Supabase's limits of a project. 0 means none, except for Payload.
type Limits struct {
	Users     int         `json:"users,omitempty" jsonschema:"minimum=0,description=connected clients"`
	Events    int         `json:"events_per_second,omitempty" jsonschema:"minimum=0,description=messages received and sent by the instance: the mean over a minute"`
	Joins     int         `json:"joins_per_second,omitempty" jsonschema:"minimum=0,description=joins of the instance: the mean over a minute"`
	Channels  int         `json:"channels,omitempty" jsonschema:"minimum=0,description=channels of one client"`
	Presences int         `json:"presence_events_per_second,omitempty" jsonschema:"minimum=0,description=presence messages of the instance: the mean over a minute"`
	Payload   units.Bytes `json:"payload_bytes,omitempty" jsonschema:"minimum=0,description=the largest payload of a broadcast; 3000500 if it is left out"`

	ClientPresences      int            `json:"client_presence_events,omitempty" jsonschema:"minimum=0,description=presence messages of one channel within the window that follows"`
	ClientPresenceWindow units.Duration `json:"client_presence_window,omitempty" jsonschema:"description=30s if it is left out"`
}

// The values of Config.PostgresChanges.
const (
	refuseChanges      = "refuse"
	systemErrorChanges = "system_error"
)

// Defaults of Limits, which are Supabase's (lib/realtime/api/tenant.ex, config/config.exs).
const (
	defaultPayload        = 3000*1000 + 500
	defaultPresenceWindow = 30 * time.Second
)

// Bounds of a Config.
const (
	maxWindow = time.Minute     // as for the server's own option presence.window
	maxDelay  = 9 * time.Second // clients wait for 10 s
	maxKeys   = 16
	maxKey    = 8 << 10 // bytes
)

// maxMeta bounds what a client may track, in bytes: every presence_state contains it.
const maxMeta = 64 << 10

// maxPresenceKey bounds a presence key, in bytes: each key is sent to everybody in the
// channel.
const maxPresenceKey = 255

// check reports errors that the schema cannot express, and fills in defaults.
func (c *Config) check() error {
	if len(c.Keys) > maxKeys {
		return instances.Invalid("/keys", "has %d keys: at most %d are allowed", len(c.Keys), maxKeys)
	}
	for i, key := range c.Keys {
		if key == "" || len(key) > maxKey {
			return instances.Invalid(fmt.Sprintf("/keys/%d", i), "must be 1 to %d bytes", maxKey)
		}
	}
	if w := time.Duration(c.Window); w < 0 || w > maxWindow {
		return instances.Invalid("/presence_window", "is %s: it must be from 0s to %s", w, maxWindow)
	}
	if d := time.Duration(c.ErrorDelay); d < 0 || d > maxDelay {
		return instances.Invalid("/error_delay", "is %s: it must be from 0s to %s, because clients wait for 10s", d, maxDelay)
	}
	if w := time.Duration(c.Limits.ClientPresenceWindow); w < 0 {
		return instances.Invalid("/limits/client_presence_window", "is %s: it must not be negative", w)
	}
	if c.PostgresChanges == "" {
		c.PostgresChanges = refuseChanges
	}
	if c.Limits.Payload == 0 {
		c.Limits.Payload = defaultPayload
	}
	if c.Limits.ClientPresenceWindow == 0 {
		c.Limits.ClientPresenceWindow = units.Duration(defaultPresenceWindow)
	}
	return nil
}
