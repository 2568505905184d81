package realtime

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/wire"
)

// maxReplay is the largest number of broadcasts that a client is sent again, and the default
// (lib/realtime/messages.ex).
const maxReplay = 25

// replayIn returns which broadcasts the config of a join asks for. ok is false if it asks for none,
// valid is false if its fields cannot be read.
func replayIn(raw json.RawMessage) (ask history.Ask, ok, valid bool) {
	replay := objectOf(raw)
	if replay == nil {
		return ask, false, true
	}
	since, limit := int64(0), int64(maxReplay)
	if json.Unmarshal(replay["since"], &since) != nil || replay["limit"] != nil && json.Unmarshal(replay["limit"], &limit) != nil {
		return ask, true, false
	}
	ask.Since, ask.Limit = time.UnixMilli(max(1, since)), int(min(max(1, limit), maxReplay))
	return ask, true, true
}

// replayAsk is the first function for channels.Channel.Replay.
func replayAsk(p channels.Payload) (ask history.Ask, ok bool) {
	config := payloadOf(p).sub("config")
	ask, ok, valid := replayIn(config.sub("broadcast")["replay"])
	return ask, ok && valid && config.flag("private")
}

// checkReplay refuses a join that asks for earlier broadcasts which it cannot get.
func (l *logic) checkReplay(c *channels.Context, j params) error {
	if j.replay == nil {
		return nil
	}
	if !j.private {
		return channels.Errorf("UnableToReplayMessages: Replay is not allowed for public channels")
	}
	_, ok, valid := replayIn(j.replay)
	if !valid {
		return channels.Errorf("UnableToReplayMessages: Replay params are not valid")
	}
	if h := l.in.Endpoint().History(); ok && (h == nil || !h.Records(c.Topic(), "broadcast")) {
		return channels.Errorf("UnableToReplayMessages: this server keeps no broadcasts of this channel")
	}
	return nil
}

// replayed is the second function for channels.Channel.Replay. It returns the broadcast with a meta
// that says that it is replayed (realtime_channel.ex, replay).
func replayed(m *history.Message) channels.Payload {
	p := channels.Payload{Data: m.Payload, Binary: m.Binary}
	sum := sha256.Sum256([]byte(m.ID().String()))
	meta := fmt.Appendf(nil, `{"id":"%x-%x-%x-%x-%x","replayed":true}`, sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	if u, ok := wire.ParseUserBroadcast(p); ok {
		u.Meta = meta
		if with, err := u.Payload(); err == nil {
			return with
		}
		return p
	}
	o := payloadOf(p)
	if o == nil {
		return p
	}
	o["meta"] = meta
	text, err := json.Marshal(o)
	if err != nil {
		return p // it came as JSON
	}
	return channels.Payload{Data: text}
}
