package main

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/units"
)

// realtimeConfig returns the configuration of a default instance for Supabase's clients.
func realtimeConfig(cfg *config.Config) realtime.Config {
	r := cfg.Realtime
	return realtime.Config{
		Keys: r.Keys, PrivateOnly: r.PrivateOnly, PostgresChanges: r.PostgresChanges, Window: units.Duration(cfg.Presence.Window),
		Limits: realtime.Limits{Payload: units.Bytes(r.Payload)},
	}
}

// realtimeBroadcast is where Supabase's clients send broadcasts over HTTP if they
// were given "/socket" as the address of their socket (realtime-js,
// src/lib/transformers.ts, httpEndpointURL).
const realtimeBroadcast = "/api/broadcast"

// typeHandler returns the handler for a path that belongs to the type of an instance, nil
// if there is none.
func (h withAPI) typeHandler(path string) http.Handler {
	switch {
	case path == realtimeBroadcast || strings.HasPrefix(path, realtimeBroadcast+"/"):
		return h.d.instances.HandlerOf(defaultInstance, strings.TrimPrefix(path, "/"))
	case strings.HasPrefix(path, h.socket+"/") || strings.HasPrefix(path, realtime.Path+"/"):
		return h.d.instances.Handler(path)
	}
	return nil
}

// realtimeTokens has what verifies the tokens of Supabase's clients. The manager
// may ask for the options of an instance while it runs, and drop either the old ones or the new
// ones, so each instance has a list, of which the last counts. Its methods are safe
// from any goroutine.
type realtimeTokens struct {
	mu sync.Mutex
	by map[string][]*tokensOfLife // by instance; guarded by mu
}

// tokensOfLife has the verifier of one life of an instance, nil if its clients need no
// tokens.
type tokensOfLife struct{ *auth.Verifier }

// add adds a verifier, until remove is called.
func (t *realtimeTokens) add(id string, v *auth.Verifier) (remove func()) {
	mine := &tokensOfLife{v}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = make(map[string][]*tokensOfLife)
	}
	t.by[id] = append(t.by[id], mine)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		rest := slices.DeleteFunc(t.by[id], func(other *tokensOfLife) bool { return other == mine })
		if t.by[id] = rest; len(rest) == 0 {
			delete(t.by, id)
		}
	}
}

// current returns the verifier of an instance, nil if its clients need no token. An instance that
// is not known has one that accepts nothing.
func (t *realtimeTokens) current(id string) *auth.Verifier {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.by[id]
	if len(all) == 0 {
		return acceptsNothing()
	}
	return all[len(all)-1].Verifier
}

// acceptsNothing returns a verifier with a key that nobody has.
var acceptsNothing = sync.OnceValue(func() *auth.Verifier {
	quiet := zerolog.Nop()
	v, err := auth.New(auth.Options{Keys: []auth.Key{{Algorithm: "HS256", Secret: rand.Text() + rand.Text()}}}, &quiet)
	if err != nil {
		panic(err) // the key is long enough
	}
	return v
})
