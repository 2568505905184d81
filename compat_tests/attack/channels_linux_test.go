package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// channelAttacks use valid messages of Phoenix Channels.
var channelAttacks = []attack{
	{name: "connect, join a hundred times, disconnect", workers: 4, least: 40, strike: func(x *attacker, _ int) {
		c := x.socket("/socket/rooms/websocket?vsn=2.0.0", nil)
		if c == nil {
			return
		}
		defer c.Drop()
		joins(c, "room", 100, `{"user":"eve"}`)
		x.done.Add(1)
	}},
	{name: "opening all rooms", workers: 10, least: 20, strike: func(x *attacker, worker int) {
		c := x.socket("/socket/rooms/websocket?vsn=2.0.0", nil)
		if c == nil {
			return
		}
		x.hold(c.Conn())
		name := fmt.Sprintf("room:w%d-%d-", worker, x.done.Load())
		joins(c, name, 100, `{"user":"eve"}`)
		for i := range 100 {
			c.WriteText(fmt.Sprintf(`["%d","m","%s%d","new_msg",{"body":"mine"}]`, i, name, i)) // drain reports it
		}
		x.done.Add(1)
		drain(x, c)
	}, check: roomOpens},
	{name: "names and metas of 4 kB", workers: 50, least: 50, strike: func(x *attacker, worker int) {
		c := x.relay()
		if c == nil {
			return
		}
		x.hold(c.Conn())
		name := strings.Repeat("n", 3900)
		joins(c, fmt.Sprintf("%s%d-", name, worker), 100, fmt.Sprintf(`{"user":%q,"meta":{"m":%q}}`, name, name))
		x.done.Add(1)
		drain(x, c)
	}},
	{name: "listeners that never read", workers: 50, least: 50, strike: func(x *attacker, worker int) {
		c := x.relay()
		if c == nil {
			return
		}
		x.hold(c.Conn())
		joins(c, "room:loud", 1, fmt.Sprintf(`{"user":"deaf%d"}`, worker))
		payload := strings.Repeat("l", 30_000)
		for x.ctx.Err() == nil && c.WriteText(fmt.Sprintf(`["0","1","room:loud0","shout",{"x":%q}]`, payload)) == nil {
			x.done.Add(1)
		}
	}},
	{name: "a crowd with long metas", workers: 200, least: 200, strike: func(x *attacker, worker int) {
		c := x.relay()
		if c == nil {
			return
		}
		x.hold(c.Conn())
		joins(c, "room:crowd", 1, fmt.Sprintf(`{"user":"u%d","meta":{"m":%q}}`, worker, strings.Repeat("m", 3900)))
		x.done.Add(1)
		drain(x, c)
	}, check: readerStays},
	{name: "a crowd with one name", workers: 150, least: 150, strike: func(x *attacker, worker int) {
		c := x.relay()
		if c == nil {
			return
		}
		join := fmt.Sprintf(`["0","0","room:clones","phx_join",{"user":"eve","meta":{"m":%q}}]`, strings.Repeat("m", 3900))
		if worker < 120 {
			x.hold(c.Conn())
			c.WriteText(join) // drain reports it
			x.done.Add(1)
			drain(x, c)
			return
		}
		defer c.Drop()
		for range 40 {
			if c.WriteText(join) != nil || c.WriteText(`["0","l","room:clones","phx_leave",{}]`) != nil {
				return
			}
		}
		x.done.Add(1)
		x.pause(time.Second)
	}},
	{name: "joins and leaves in a loop", workers: 4, least: 20, strike: onRelay(func(x *attacker, c *wstest.Client) {
		var text []string
		for i := range 50 {
			text = append(text, fmt.Sprintf(`["%d","%d","room:loop","phx_join",{"user":"eve"}]`, i, i), fmt.Sprintf(`["%d","l","room:loop","phx_leave",{}]`, i))
		}
		for x.ctx.Err() == nil {
			for _, m := range text {
				if c.WriteText(m) != nil {
					return
				}
			}
			x.done.Add(1)
		}
	})},
	{name: "events to topics that were not joined", workers: 4, least: 100, strike: onRelay(func(x *attacker, c *wstest.Client) {
		message := wstest.AppendFrame(nil, true, 1, []byte(`[null,"1","room:elsewhere","shout",{}]`))
		flood(x, c, []byte(strings.Repeat(string(message), 200)))
	})},
	{name: "keys that break clients", workers: 2, least: 100, strike: onRelay(func(x *attacker, c *wstest.Client) {
		for _, key := range []string{"constructor", "__proto__", "toString", "hasOwnProperty"} {
			c.WriteText(fmt.Sprintf(`["1","1","room:well-behaved","phx_join",{"user":%q}]`, key)) // the reply below is missing then
			c.ReadMessage()                                                                       // whatever the answer
		}
		x.done.Add(1)
	})},
}

// joins joins n topics with a common prefix, without waiting for replies.
func joins(c *wstest.Client, prefix string, n int, payload string) {
	for i := range n {
		if c.WriteText(fmt.Sprintf(`["%d","%d","%s%d","phx_join",%s]`, i, i, prefix, i, payload)) != nil {
			return
		}
	}
}

// drain reads until the connection or the attack ends.
func drain(x *attacker, c *wstest.Client) {
	for x.ctx.Err() == nil {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

// readerStays checks that a client that reads is not cut off by a presence state as
// large as its limit of waiting bytes.
func readerStays(t *testing.T, v *victim) {
	t.Helper()
	for range 3 {
		c, err := wstest.Dial(v.addr, "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Errorf("a member of the crowd: %v", err)
			return
		}
		joins(c, "room:crowd", 1, `{"user":"ada"}`)
		members := 0
		for members < 150 {
			_, text, err := c.ReadMessage()
			if err != nil {
				t.Errorf("a member of the crowd has seen %d others: %v", members, err)
				break
			}
			members += strings.Count(string(text), `"phx_ref"`)
		}
		c.Drop()
	}
}

// roomOpens checks that another client can open a room and talk in it.
func roomOpens(t *testing.T, v *victim) {
	t.Helper()
	c, err := wstest.Dial(v.addr, "/socket/rooms/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Errorf("a guest of the rooms: %v", err)
		return
	}
	defer c.Drop()
	for _, m := range []string{`["1","1","room:tea","phx_join",{"user":"ada"}]`, `["1","2","room:tea","new_msg",{"body":"hello"}]`} {
		if err := c.WriteText(m); err != nil {
			t.Errorf("%s: %v", m, err)
			return
		}
		for reply := ""; !strings.Contains(reply, "phx_reply"); {
			_, text, err := c.ReadMessage()
			if err != nil {
				t.Errorf("%s: %v", m, err)
				return
			}
			if reply = string(text); strings.Contains(reply, `"error"`) {
				t.Errorf("%s: %s", m, reply)
			}
		}
	}
}
