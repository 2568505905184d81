package channels

import (
	"fmt"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/callback"
)

// Replay registers functions for clients that ask for recorded broadcasts (see
// Options.History) in a form of their own besides the key "history" in the params of a
// join. ask returns what a join asks for; ok is false if it asks for nothing. message
// returns the payload with which a recorded broadcast is sent to one client. Both run on
// the event loop, and must not block.
func (ch *Channel) Replay(ask func(params Payload) (a history.Ask, ok bool), message func(m *history.Message) Payload) {
	ch.mustChange("Replay", "")
	if ch.replayAsk != nil {
		panic(fmt.Sprintf("channels: %q has two Replay functions", ch.pattern))
	}
	ch.replayAsk, ch.replayPayload = ask, message
}

// askReplay returns what a join asks for: nothing if the function panics.
func (ch *Channel) askReplay(e *Endpoint, params Payload) (ask history.Ask, ok bool) {
	var err error
	defer func() { e.reportPanic(err) }()
	defer callback.Recover("Replay", &err)
	return ch.replayAsk(params)
}

// replayed returns the payload with which a recorded broadcast is sent.
func (ch *Channel) replayed(e *Endpoint, m *history.Message) (p Payload) {
	p = Payload{Data: m.Payload, Binary: m.Binary}
	if ch.replayPayload == nil {
		return p
	}
	var err error
	defer func() { e.reportPanic(err) }()
	defer callback.Recover("Replay", &err)
	return ch.replayPayload(m)
}
