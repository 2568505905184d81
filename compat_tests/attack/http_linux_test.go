package attack

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// long is longer than what an honest client sends in a header field.
var long = strings.Repeat("x", 15_000)

// httpAttacks need no WebSocket.
var httpAttacks = []attack{
	{name: "handshakes from odd origins", workers: 4, least: 200, strike: func(x *attacker, _ int) {
		if c := x.socket("/socket/websocket?vsn=2.0.0", http.Header{"Origin": {"http://" + long + ".example"}}); c != nil {
			c.Drop()
		}
		x.done.Add(1)
	}},
	{name: "unfinished heads of 990 kB", workers: 100, least: 100, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		x.hold(c)
		ok := x.send(c, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n")
		for range 66 {
			ok = ok && x.send(c, "X-Filler: "+long+"\r\n")
		}
		x.done.Add(1)
		x.pause(time.Second)
	}},
	{name: "heads sent byte by byte", workers: 50, least: 50, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.done.Add(1)
		for x.ctx.Err() == nil && x.send(c, "G") {
			x.pause(50 * time.Millisecond)
		}
	}},
	{name: "requests held open", workers: 100, least: 300, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		x.hold(c)
		x.send(c, []string{
			x.request("POST", "/", "Content-Length: 1000000"),
			x.request("POST", "/socket/longpoll?vsn=2.0.0", "Content-Length: 1000000"),
			x.request("POST", "/observer", "Transfer-Encoding: chunked") + "5\r\nhello\r\n",
			x.request("OPTIONS", "/socket/longpoll", "Content-Length: 10"),
		}[worker%4])
		x.done.Add(1)
		x.pause(50 * time.Millisecond)
	}},
	{name: "answers that are not read", workers: 20, least: 100, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		x.hold(c)
		for range 2000 {
			if !x.send(c, []string{
				x.request("GET", "/assets/phoenix.js"),
				x.request("GET", "/metrics", "Authorization: Bearer "+metricsToken),
			}[worker%2]) {
				break
			}
		}
		x.done.Add(1)
	}},
	{name: "bodies sent byte by byte", workers: 50, least: 50, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.send(c, x.request("POST", []string{"/socket/longpoll?vsn=2.0.0", "/api/instances", "/nowhere"}[worker%3], "Content-Length: 1000000"))
		x.done.Add(1)
		for x.ctx.Err() == nil && x.send(c, "{") {
			x.pause(50 * time.Millisecond)
		}
	}},
	{name: "preflights of browsers", workers: 4, least: 100, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		preflights := strings.Repeat(x.request("OPTIONS", "/socket/longpoll", "Access-Control-Request-Headers: "+long[:1000]), 100)
		buf := make([]byte, 64<<10)
		for x.ctx.Err() == nil && x.send(c, preflights) {
			c.SetReadDeadline(time.Now().Add(time.Second)) // Read reports it
			for answered := 0; answered < 100; {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				answered += bytes.Count(buf[:n], []byte("HTTP/1.1 ")) // a line cut in two is missed, and the deadline ends the loop
			}
			x.done.Add(1)
		}
	}},
	{name: "tokens whose keys cannot be fetched", workers: 100, least: 100, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		token := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","kid":"%d"}`, x.done.Add(1))) + ".e30.c2lnbmVk"
		x.send(c, x.request("GET", "/socket/guarded/websocket?vsn=2.0.0&token="+token,
			"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
		c.SetReadDeadline(time.Now().Add(time.Second)) // Read reports it
		c.Read(make([]byte, 1000))                     // whatever the answer
	}},
	{name: "upgrades with a body, and requests that two parsers read differently", workers: 4, least: 200, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		upgrade := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		x.send(c, []string{
			x.request("GET", "/nowhere") + x.request("GET", "/socket/websocket?vsn=2.0.0", append(upgrade, "Transfer-Encoding: chunked")...),
			x.request("GET", "/socket/websocket?vsn=2.0.0", append(upgrade, "Content-Length: 5", "Transfer-Encoding: chunked")...),
			"GET / HTTP/1.1\nHost: localhost\n\n",
			x.request("GET", "/", strings.Repeat("a:b\r\n", 3000)+"c: d"),
		}[worker%4])
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // Read reports it
		c.Read(make([]byte, 1000))                                // whatever the answer
		x.done.Add(1)
	}},
	{name: "sessions of long polling", workers: 4, least: 200, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.send(c, x.request("GET", "/socket/longpoll?vsn=2.0.0", "Connection: close"))
		c.SetReadDeadline(time.Now().Add(time.Second)) // Read reports it
		c.Read(make([]byte, 1000))                     // whatever the answer
		x.done.Add(1)
	}},
	{name: "TLS to a plain port", workers: 4, least: 100, strike: func(x *attacker, _ int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.send(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("r", 400))
		c.SetReadDeadline(time.Now().Add(time.Second)) // Read reports it
		c.Read(make([]byte, 1000))                     // whatever the answer
		x.done.Add(1)
	}},
}
