package main

import (
	"encoding/hex"

	"github.com/mycelium-rt/mycelium/channels"
)

// addBinary adds the events for binary payloads.
func addBinary(ch *channels.Channel) {
	onAll(ch, map[string]handler{
		"bin":           then(wantBytes, echo("ok")),
		"bin_error":     then(wantBytes, echo("error")),
		"bin_ok_text":   binSize,
		"bin_push":      binPush,
		"bin_broadcast": binBroadcast,
		"bin_reply":     binReply,
	})
}

// wantBytes crashes the channel if the payload is JSON.
func wantBytes(_ *channels.Context, p channels.Payload) channels.Reply {
	bytesOf(p)
	return none
}

// binSize replies to bytes with JSON.
func binSize(_ *channels.Context, p channels.Payload) channels.Reply {
	return ok(struct {
		Size int `json:"size"`
	}{len(bytesOf(p))})
}

func binPush(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.Push("bin_pushed", wantedBytes(p)))
	return none
}

func binBroadcast(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.Broadcast("bin_shout", wantedBytes(p)))
	return none
}

func binReply(_ *channels.Context, p channels.Payload) channels.Reply { return ok(wantedBytes(p)) }

// wantedBytes returns the bytes that the payload is, or asks for.
func wantedBytes(p channels.Payload) channels.Binary {
	if p.Binary {
		return channels.Binary(p.Data)
	}
	o, err := asObject(p)
	switch {
	case err != nil: // any other JSON asks for nothing
	case o.has("data"):
		return channels.Binary(o.text("data"))
	case o.has("hex"):
		b, err := hex.DecodeString(o.text("hex"))
		if err != nil {
			panic(err)
		}
		return b
	}
	return channels.Binary{0, 1, 2, 0xff}
}
