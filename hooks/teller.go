package hooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/webhook"
	"github.com/mycelium-rt/mycelium/units"
)

// What a back end is told, in [Hook].On.
const (
	Connected       = "connected"    // a client has connected
	Disconnected    = "disconnected" // its connection has ended
	Joined          = "joined"       // a client has joined a topic
	Left            = "left"         // a client has left a topic
	Occupied        = "occupied"     // the first client has joined a topic
	Vacated         = "vacated"      // the last client has left a topic
	PresenceChanged = "presence"     // a presence was tracked, updated or has ended
	Published       = "published"    // a message was broadcast to a topic
)

// told lists the events that back ends can be told.
var told = []string{Connected, Disconnected, Joined, Left, Occupied, Vacated, PresenceChanged, Published}

// Tells returns the elements of On that the back end is told.
func (h *Hook) Tells() []string {
	return slices.DeleteFunc(slices.Clone(h.On), func(on string) bool { return !slices.Contains(told, on) })
}

// tellTimeout is the least time that a back end has to take events.
const tellTimeout = units.Duration(10 * time.Second)

// Teller sends events to a back end. It has connections of its own, so that a back end that
// takes events slowly does not delay decisions.
type Teller struct {
	Hook   Hook // complete
	caller *webhook.Caller
}

// NewTellers returns a teller for each hook of a list that is told something. The caller
// closes them.
func NewTellers(list []Hook, logger *zerolog.Logger) (tellers []*Teller, err error) {
	log := logging.NewLog(logger)
	for i, h := range list {
		h.complete(i)
		if len(h.Tells()) == 0 {
			continue
		}
		o, err := h.caller()
		if err == nil {
			o.Log, o.Concurrency, o.Timeout = log, 1, time.Duration(max(h.Timeout, tellTimeout))
			var caller *webhook.Caller
			if caller, err = webhook.New(o); err == nil {
				tellers = append(tellers, &Teller{Hook: h, caller: caller})
			}
		}
		if err != nil {
			for _, t := range tellers {
				t.Close()
			}
			return nil, addBelow(fmt.Sprintf("/%d", i), err)
		}
	}
	return tellers, nil
}

// Send sends a signed request. It returns nil if the back end answers with 2xx, and does not
// try again. id must be the same for all requests with the same events.
func (t *Teller) Send(ctx context.Context, id string, body []byte) error {
	return t.caller.Call(ctx, webhook.Message{ID: id, Body: body})
}

// Close closes unused connections to the back end.
func (t *Teller) Close() { t.caller.Close() }
