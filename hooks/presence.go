package hooks

import (
	"encoding/json"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/presence"
)

// TrackWith returns a Presence that uses a tracker.
func TrackWith(t *presence.Tracker) Presence { return tracked{t} }

type tracked struct{ *presence.Tracker }

// Track implements Presence. A client that joins is listed once it is subscribed: who sees it in the list reaches it.
func (t tracked) Track(c *channels.Context, key string, meta json.RawMessage) error {
	if presence.BreaksClients(key) {
		return channels.Errorf("presence key %q breaks the presence lists of JavaScript clients", key)
	}
	if c.Event() == "phx_join" {
		return hooks.AfterJoin(c, func() error { return t.put(c, key, meta) })
	}
	return t.put(c, key, meta)
}

func (t tracked) put(c *channels.Context, key string, meta json.RawMessage) error {
	if _, err := t.Update(c, key, meta); err == nil {
		return nil
	}
	_, err := t.Tracker.Track(c, key, meta)
	return err
}
