package attack

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// frameAttacks use frames of WebSockets, below the messages of the protocol.
var frameAttacks = []attack{
	{name: "continuation frames without end", workers: 4, least: 20, strike: onRelay(func(x *attacker, c *wstest.Client) {
		c.WriteRaw(wstest.AppendFrame(nil, false, ws.OpText, nil)) // the next write reports an error
		empty := bytes.Repeat(wstest.AppendFrame(nil, false, ws.OpContinuation, nil), 1000)
		flood(x, c, empty)
	})},
	{name: "pings without end", workers: 4, least: 20, strike: onRelay(func(x *attacker, c *wstest.Client) {
		flood(x, c, bytes.Repeat(wstest.AppendFrame(nil, true, ws.OpPing, nil), 1000))
	})},
	{name: "bytes after a protocol error", workers: 4, least: 20, strike: onRelay(func(x *attacker, c *wstest.Client) {
		c.WriteRaw([]byte{0xff, 0xff}) // the next write reports an error
		flood(x, c, bytes.Repeat([]byte{0xff}, 64<<10))
	})},
	{name: "a frame that claims to be of a tebibyte", workers: 4, least: 100, strike: onRelay(func(x *attacker, c *wstest.Client) {
		head := binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<40)
		flood(x, c, append(head, make([]byte, 32<<10)...))
	})},
	{name: "messages that inflate a thousandfold", workers: 4, least: 20, strike: func(x *attacker, _ int) {
		c := x.socket("/socket/websocket?vsn=2.0.0", map[string][]string{"Sec-Websocket-Extensions": {"permessage-deflate"}})
		if c == nil {
			return
		}
		defer c.Drop()
		bomb := []byte(`[null,"1","phoenix","heartbeat",{"x":"` + strings.Repeat("0", 500_000) + `"}]`)
		for x.ctx.Err() == nil && c.WriteCompressed(ws.OpText, bomb) == nil {
			x.done.Add(1)
		}
	}},
	{name: "text that is not UTF-8, and no JSON", workers: 4, least: 100, strike: onRelay(func(x *attacker, c *wstest.Client) {
		c.WriteFrame(ws.OpText, []byte("[\"1\",\"1\",\"a\",\"phx_join\",{\"\xff\":1}]")) // the socket is closed for it
		c.WriteFrame(ws.OpText, []byte(strings.Repeat("[", 10_000)))                     // the same
		c.ReadMessage()                                                                  // whatever the answer
		x.done.Add(1)
	})},
}

// onRelay returns an attack on a new connection of the relay each time.
func onRelay(strike func(x *attacker, c *wstest.Client)) func(*attacker, int) {
	return func(x *attacker, _ int) {
		c := x.relay()
		if c == nil {
			return
		}
		defer c.Drop()
		strike(x, c)
	}
}

// flood writes the same bytes until the server closes the connection.
func flood(x *attacker, c *wstest.Client, b []byte) {
	for x.ctx.Err() == nil && c.WriteRaw(b) == nil {
		x.done.Add(1)
	}
	x.done.Add(1)
}
