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
	Left            = "left"         // it has left
	Occupied        = "occupied"     // somebody has joined a topic that nobody had joined
	Vacated         = "vacated"      // nobody has joined the topic any more
	PresenceChanged = "presence"     // a presence was tracked, updated or has ended
	Published       = "published"    // a message was broadcast to a topic
)

// told are the kinds of what is told.
var told = []string{Connected, Disconnected, Joined, Left, Occupied, Vacated, PresenceChanged, Published}

// Tells returns what of On the back end is told.
func (h *Hook) Tells() []string {
	return slices.DeleteFunc(slices.Clone(h.On), func(on string) bool { return !slices.Contains(told, on) })
}

// tellTimeout is the least time that a back end has to take events.
const tellTimeout = units.Duration(10 * time.Second)

// Teller sends a back end events. It has connections of its own, so that a back end that
// takes events slowly delays no decisions.
type Teller struct {
	Hook   Hook // complete
	caller *webhook.Caller
}

// NewTellers returns the tellers of the hooks in a list that are told something. The
// caller closes them.
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

// Send sends a request, signed, and returns when the back end has answered with 2xx. It
// does not try again. id is the same for all requests with the same events.
func (t *Teller) Send(ctx context.Context, id string, body []byte) error {
	return t.caller.Call(ctx, webhook.Message{ID: id, Body: body})
}

// Close closes the connections to the back end.
func (t *Teller) Close() { t.caller.Close() }
