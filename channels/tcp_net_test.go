package channels_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/wire"
)

// A client over raw TCP is in the same channels as one with a WebSocket.
func TestTCP(t *testing.T) {
	requests := make(chan string, 10)
	so := channels.SocketOptions{IdleTimeout: 45 * time.Second, MaxMessage: 1 << 20, AuthToken: true, Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		token, _ := r.AuthToken()
		requests <- fmt.Sprint(r.Transport, s.Transport(), r.URL, r.Params["token"], r.Params["vsn"], r.Header.Get("User-Agent"), token, r.RemoteAddr.Addr())
		return nil
	}}
	bothTCP(t, so, func(t *testing.T, s *server, addr string) {
		p := dialPackets(t, addr)
		p.send(packetConnect, `{"path":"/socket/websocket","params":{"token":"a b"},"headers":{"user-agent":"sensor"},"token":"secret"}`)
		if body := p.want(packetAccepted); body != "\x00\x00\xaf\xc8\x00\x10\x00\x00" {
			t.Errorf("accepted with %x", body)
		}
		if got := <-requests; got != "tcptcphttp:///socket/websocket?token=a+b&vsn=2.0.0a b2.0.0sensorsecret127.0.0.1" {
			t.Errorf("Connect saw %s", got)
		}
		p.join("room:1", `{"name":"sensor"}`, `{"subtopic":"1"}`)
		web := s.dial(t)
		<-requests
		web.join("room:1", "{}")

		p.send(packetText, `["1","2","room:1","shout",{"body":"1"}]`)
		p.wantText(`[null,null,"room:1","shout",{"body":"1"}]`)
		web.assertNext("", "room:1", "shout", `{"body":"1"}`)
		if err := s.Broadcast("room:1", "shout", channels.Binary{1, 0, 255}); err != nil {
			t.Fatal(err)
		}
		if body := p.want(packetBinary); body != "\x02\x06\x05room:1shout\x01\x00\xff" {
			t.Errorf("broadcast of bytes: %q", body)
		}
		p.send(packetBinary, string(bytesPush("1", "4", "room:1", "bytes", []byte("xyz"))))
		if body := p.want(packetBinary); body != "\x01\x01\x01\x06\x0214room:1okxyz" {
			t.Errorf("reply of bytes: %q", body)
		}
		p.send(packetText, `[null,"5","phoenix","heartbeat",{}]`)
		p.wantText(`[null,"5","phoenix","phx_reply",{"response":{},"status":"ok"}]`)
		p.send(packetPing, "any bytes")
		if body := p.want(packetPong); body != "any bytes" {
			t.Errorf("pong %q", body)
		}
		if n := s.Stats().TCP.Sockets; n != 1 {
			t.Errorf("%d sockets over TCP", n)
		}
		p.send(packetClose, "\x03\xe8done")
		if body := p.want(packetClose); body != "\x03\xe8" {
			t.Errorf("answer to a close: %q", body)
		}
		p.wantEnd()
		p.Close()
		waittest.For(t, "the end of the socket", func() bool { return s.Stats().TCP.Sockets == 0 })
		if n := s.Stats().Sockets; n != 1 {
			t.Errorf("%d sockets left", n)
		}
	}, rooms)
}

// The path may be that of the socket, with what phoenix.js appends and without; a guest's,
// and any with a query. All of a dialogue may come at once, or byte by byte.
func TestTCPPaths(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		h.invite(t, "42", channels.Options{}, channels.SocketOptions{}, relayAll())
		addr := h.listenTCP(t)
		const join = `["1","1","t","phx_join",{}]`
		for _, path := range []string{"/socket", "/socket/", "/socket/websocket", "//socket//websocket?a=b", "/socket/42", "/socket/42/websocket"} {
			dialogue := packetOf(packetConnect, `{"path":"`+path+`"}`) + packetOf(packetText, join)
			for _, n := range []int{1, len(dialogue)} {
				p := dialPackets(t, addr)
				for rest := dialogue; rest != ""; rest = rest[n:] {
					p.write(rest[:n])
				}
				p.want(packetAccepted)
				p.wantText(`["1","1","t","phx_reply",{"response":{},"status":"ok"}]`)
			}
		}
		p := connectPackets(t, addr, `{"path":"/socket?vsn=1.0.0"}`)
		p.send(packetText, `{"topic":"t","event":"phx_join","ref":"1","join_ref":"1","payload":{}}`)
		if body := p.want(packetText); !strings.HasPrefix(body, "{") {
			t.Errorf("version 1: %s", body)
		}
	})
}

// A client that is refused is told why, as over HTTP.
func TestTCPRefusals(t *testing.T) {
	so := channels.SocketOptions{CheckOrigin: channels.SameHost, Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
		switch r.Params.Get("do") {
		case "busy":
			return &channels.RefusedError{Status: 503, RetryAfter: 1500 * time.Millisecond, Body: "not now"}
		case "deny":
			return channels.ErrClosed
		case "crash":
			panic("Connect panics")
		}
		return nil
	}}
	bothTCP(t, so, func(t *testing.T, s *server, addr string) {
		const form = `a connect is a JSON object with "path" (a string) and, if needed, "params" (an object of strings, numbers and booleans), "headers" (an object of strings) and "token" (a string)`
		const denied = "the token, the params or the version of the protocol (the param vsn) were refused"
		const first = "the first packet must be a connect: a length of 4 bytes, the byte 3, and a JSON object"
		for sent, want := range map[string]struct {
			status, retryAfter int
			reason             string
		}{
			packetOf(packetConnect, `{"path":"/socket","params":{"do":"busy"}}`):                      {503, 2, "not now"},
			packetOf(packetConnect, `{"path":"/socket","params":{"do":"deny"}}`):                      {403, 0, denied},
			packetOf(packetConnect, `{"path":"/socket","params":{"do":"crash"}}`):                     {500, 0, "Internal Server Error"},
			packetOf(packetConnect, `{"path":"/socket","params":{"vsn":"9.0.0"}}`):                    {403, 0, denied},
			packetOf(packetConnect, `{"path":"/socket","headers":{"Origin":"https://evil.example"}}`): {403, 0, ""},
			packetOf(packetConnect, `{"path":"/socket?a=%ff"}`):                                       {400, 0, "the params cannot be decoded"},
			packetOf(packetConnect, `{"path":"/elsewhere"}`):                                          {404, 0, "no socket or running instance is at this path"},
			packetOf(packetConnect, `{"path":"/socket","topic":"room:1"}`):                            {400, 0, `unknown key "topic"; ` + form},
			packetOf(packetText, `["1","1","room:1","phx_join",{}]`):                                  {400, 0, first},
			"\x00\x00\x00\x00":     {400, 0, first},
			"\xff\xff\xff\xff":     {400, 0, first},
			"\x00\xff\xff\xff\x03": {431, 0, "the connect is larger than this server accepts"},
		} {
			p := dialPackets(t, addr)
			p.write(sent)
			if want.reason == "" { // the origin's, which names what is allowed
				if body := p.want(packetRefused); !strings.HasPrefix(body, "\x01\x93\x00\x00") {
					t.Errorf("%q: %q", sent, body)
				}
				continue
			}
			p.wantRefused(want.status, want.retryAfter, want.reason)
		}
		if n := s.Stats().Sockets; n != 0 {
			t.Errorf("%d sockets", n)
		}
		status, body, _ := exchange(t, dialTCP(t, addr), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if status != 400 || body != "this port serves raw TCP; HTTP and WebSockets are served on another port\n" {
			t.Errorf("HTTP: %d %q", status, body)
		}
		p := dialPackets(t, s.addr)
		p.send(packetConnect, `{"path":"/socket"}`)
		p.wantRefused(400, 0, "this port serves HTTP; raw TCP is served on another port")
		hello := "\x16\x03\x01\x00\xa5\x01" + strings.Repeat("x", 160)
		if status, body, _ := exchange(t, dialTCP(t, addr), hello); status != 400 || body != "this port serves raw TCP without TLS: connect without, or configure TLS\n" {
			t.Errorf("TLS: %d %q", status, body)
		}
		if _, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") {
			t.Errorf("TLS: %v", err)
		}
	}, rooms)
}

// The limits of an endpoint count a client whatever it speaks.
func TestTCPLimits(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MaxConnections = 2
		s := serve(t, o, channels.SocketOptions{}, room())
		addr := s.listenTCP(t)
		first := connectPackets(t, addr, `{"path":"/socket"}`)
		s.dial(t)
		dialPackets(t, addr).wantEnd()
		first.Close()
		waittest.For(t, "room for another", func() bool { return s.Stats().TCP.Sockets == 0 })
		waittest.For(t, "the connection to be counted out", func() bool { return s.Ready() == nil })
		connectPackets(t, addr, `{"path":"/socket"}`)
	})
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakesPerSecond = 1
		s := serve(t, o, channels.SocketOptions{}, room())
		addr := s.listenTCP(t)
		for {
			p := dialPackets(t, addr)
			p.send(packetConnect, `{"path":"/socket"}`)
			if kind, body, err := p.next(); err != nil || kind != packetAccepted {
				if kind != packetRefused || !strings.HasPrefix(body, "\x01\xf7\x00") || body[3] < 1 || body[3] > 3 || body[4:] != "the server cannot take more clients at the moment" {
					t.Errorf("above the rate: %d %q, %v", kind, body, err)
				}
				return
			}
		}
	})
}

// X-Forwarded-For has no effect over raw TCP, where the client writes it.
func TestTCPTakesNoForwardedAddress(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		addrs := make(chan string, 1)
		s := serve(t, o, channels.SocketOptions{Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			addrs <- r.RemoteAddr.Addr().String() + r.Header.Get("X-Forwarded-For")
			return nil
		}}, room())
		connectPackets(t, s.listenTCP(t), `{"path":"/socket","headers":{"x-forwarded-for":"192.0.2.1"}}`)
		if got := <-addrs; got != "127.0.0.1" {
			t.Errorf("the client's address is %s", got)
		}
	})
}

// A close has the same code as over WebSocket, and a reason for the authors of the
// client.
func TestTCPCloses(t *testing.T) {
	bothTCP(t, channels.SocketOptions{MaxMessage: 1000}, func(t *testing.T, s *server, addr string) {
		for sent, want := range map[string]struct {
			code   int
			reason string
		}{
			"\x00\x00\x00\x00": {1002, "the length of a packet is 0; it counts the type byte, so it is at least 1"},
			packetOf(packetConnect, `{"path":"/socket"}`): {1002, "unexpected type of packet; after its connect a client may send types 1, 2, 8, 9 and 10"},
			packetOf(7, ""): {1002, "unexpected type of packet; after its connect a client may send types 1, 2, 8, 9 and 10"},
			packetOf(packetPing, strings.Repeat("x", 126)):      {1002, "the body of a close, ping or pong has more than 125 bytes"},
			packetOf(packetText, "\xff"):                        {1007, "text is not UTF-8"},
			packetOf(packetText, strings.Repeat("x", 1001))[:5]: {1009, "message over the limit"},
			"\x7f\xff\xff\xff":                                  {1009, "message over the limit"},
			packetOf(packetText, "{"):                           {1011, "not a message of the protocol version that the client asked for"},
			packetOf(packetBinary, "\x07"):                      {1011, "not a message of the protocol version that the client asked for"},
		} {
			p := connectPackets(t, addr, `{"path":"/socket"}`)
			p.write(sent)
			p.wantClose(want.code, want.reason)
		}
	}, rooms)
	bothSlow(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{IdleTimeout: 150 * time.Millisecond}, room())
		connectPackets(t, s.listenTCP(t), `{"path":"/socket"}`).wantClose(1002, "")
	})
}

// A client that does not finish its connect in time is dropped.
func TestTCPSlowConnect(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakeTimeout = shortLimit
		s := serve(t, o, channels.SocketOptions{}, room())
		addr := s.listenTCP(t)
		var slow []*packets
		for _, sent := range []string{"", "\x00", packetOf(packetConnect, `{"path":"/socket"}`)[:9]} {
			p := dialPackets(t, addr)
			p.write(sent)
			slow = append(slow, p)
		}
		for _, p := range slow {
			p.wantEnd()
		}
		waittest.For(t, "the connections to be closed", func() bool { return s.Stats().Network.Connections == 0 })
	})
}

// A shutdown sends a close, and refuses clients that connect meanwhile.
func TestTCPShutdown(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := newServer(t, o)
		s.Socket("/socket", channels.SocketOptions{}, room())
		addr := s.listenTCP(t)
		p, late := connectPackets(t, addr, `{"path":"/socket"}`), dialPackets(t, addr)
		late.write("\x00")
		waittest.For(t, "both connections", func() bool { return s.Stats().Network.Connections == 2 })
		done := make(chan error, 1)
		go func() { done <- shutdown(t, s) }()
		p.wantClose(1012, "")
		p.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		late.wantEnd()
		assertNothingLeft(t)
		if _, err := s.ListenTCP("127.0.0.1:0"); err == nil {
			t.Error("the endpoint listens again")
		}
	})
}

// The same certificate serves raw TCP without HTTP. An offer of HTTP by ALPN is refused.
func TestTCPOverTLS(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS, o.ClearText = serverSide, channels.ClearTextRedirect
		s := serve(t, o, channels.SocketOptions{}, room())
		addr := s.listenTCP(t)
		for _, protocols := range [][]string{nil, {"mycelium"}} {
			config := clientSide.Clone()
			config.NextProtos = protocols
			c, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Fatal(err)
			}
			p := newPackets(t, c)
			p.send(packetConnect, `{"path":"/socket"}`)
			p.want(packetAccepted)
			p.join("room:1", `{}`, `{"subtopic":"1"}`)
			large := strings.Repeat("x", 100_000)
			p.send(packetText, `["1","2","room:1","shout",{"body":"`+large+`"}]`)
			p.wantText(`[null,null,"room:1","shout",{"body":"` + large + `"}]`)
		}
		config := clientSide.Clone()
		config.NextProtos = []string{"h2", "http/1.1"}
		if _, err := tls.Dial("tcp", addr, config); err == nil {
			t.Error("a browser completes the handshake")
		}
		p := dialPackets(t, addr)
		p.send(packetConnect, `{"path":"/no/socket"}`)
		p.wantRefused(http.StatusForbidden, 0, "this port is served over TLS only")
	})
}

// counting is version 2 of the protocol, which counts how often a broadcast is encoded.
type counting struct {
	wire.V2
	encoded *atomic.Int64
}

func (c counting) AppendBroadcast(dst []byte, topic, event string, p wire.Payload) ([]byte, bool, error) {
	c.encoded.Add(1)
	return c.V2.AppendBroadcast(dst, topic, event, p)
}

// A broadcast is encoded once for all clients over raw TCP.
func TestTCPEncodesOnce(t *testing.T) {
	counted := counting{encoded: new(atomic.Int64)}
	so := channels.SocketOptions{Dialect: func(wire.Offer) (wire.Serializer, error) { return counted, nil }}
	bothTCP(t, so, func(t *testing.T, s *server, addr string) {
		counted.encoded.Store(0)
		var clients []*packets
		for range 20 {
			p := connectPackets(t, addr, `{"path":"/socket"}`)
			p.join("room:1", `{}`, `{"subtopic":"1"}`)
			clients = append(clients, p)
		}
		if err := s.Broadcast("room:1", "news", map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		for _, p := range clients {
			p.wantText(`[null,null,"room:1","news",{"n":1}]`)
		}
		if n := counted.encoded.Load(); n != 1 {
			t.Errorf("encoded %d times for %d clients", n, len(clients))
		}
	}, rooms)
}

// An instance at another node is reached over raw TCP as by a WebSocket, which the client
// does not notice. Claims of its own are not believed.
func TestTCPForwarded(t *testing.T) {
	eachFleet(t, channels.SocketOptions{}, func(t *testing.T, f *fleet) {
		w := openWard(t, f)
		addr := f.nodes[0].listenTCP(t)
		far := dialPackets(t, addr)
		far.write(packetOf(packetConnect, `{"path":"/ward/one","params":{"user":"ada"},"headers":{"x-mycelium-forwarded":"1 192.0.2.1:1 https - AAAA"}}`) +
			packetOf(packetText, `["1","1","room","phx_join",{}]`))
		far.want(packetAccepted)
		far.wantText(`["1","1","room","phx_reply",{"response":{},"status":"ok"}]`)
		seen := <-w.clients
		if seen.RemoteAddr.String() != far.LocalAddr().String() || seen.URL.Scheme != "http" || seen.Transport != "tcp" || seen.Header.Get("X-Mycelium-Forwarded") != "" {
			t.Errorf("the instance saw %v %v %s %v", seen.RemoteAddr, seen.URL, seen.Transport, seen.Header)
		}
		near := f.nodes[1].dialTarget(t, "/ward/one/websocket?vsn=2.0.0", nil)
		joinRef := near.join("room", "{}")
		near.push(joinRef, "room", "said", `{"n":1}`)
		far.wantText(`[null,null,"room","said",{"n":1}]`)
		if n := w.guest.Stats().TCP.Sockets; n != 1 {
			t.Errorf("%d sockets over TCP at the instance", n)
		}
		if err := w.guest.Disconnect("user:ada"); err != nil {
			t.Fatal(err)
		}
		if body := far.want(packetClose); len(body) < 2 {
			t.Errorf("closed with %q", body)
		}
		far.wantEnd()

		w.here.Store(false) // the owner has changed, and node 1 knows no better than to forward
		p := dialPackets(t, addr)
		p.send(packetConnect, `{"path":"/ward/one"}`)
		p.wantRefused(http.StatusServiceUnavailable, 1, "the server cannot take more clients at the moment")
		p = dialPackets(t, addr)
		p.send(packetConnect, `{"path":"/ward/two"}`)
		p.wantRefused(http.StatusNotFound, 0, "no socket or running instance is at this path")
		near.Drop()
		f.nodes[1].stop(t)
		p = dialPackets(t, addr)
		p.send(packetConnect, `{"path":"/ward/one"}`)
		p.wantRefused(http.StatusServiceUnavailable, 1, "the server cannot take more clients at the moment")
	}, rooms)
}

// acknowledge answers pings until the server knows that the client has everything.
func (p *packets) acknowledge(s *server) {
	p.t.Helper()
	stats := s.History().Sessions().Stats
	waittest.For(p.t, "the messages to be acknowledged", func() bool {
		before := stats().Confirmed
		s.Beat(p.t.Context())
		p.send(packetPong, p.until(packetPing))
		p.send(packetText, `[null,"9","phoenix","heartbeat",{}]`)
		p.until(packetText)
		return stats().Confirmed > before && stats().Confirmed == stats().Probes
	})
}

// until leaves out packets before one of a type, and returns its body.
func (p *packets) until(kind byte) string {
	p.t.Helper()
	for {
		got, body, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if got == kind {
			return body
		}
	}
}

// A session is acknowledged by pongs, as over a WebSocket.
func TestTCPSession(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serveSessions(t, o, channels.SocketOptions{}, relayed(), history.Rule{Topics: []string{"room:*"}})
		addr := s.listenTCP(t)
		connect := `{"path":"/socket","params":{"session":"` + sessionOf("ada") + `"}}`
		p := connectPackets(t, addr, connect)
		p.send(packetText, `["1","1","room:1","phx_join",{}]`)
		p.want(packetText)
		s.say(t, "room:1", 0, 3)
		p.acknowledge(s)
		s.say(t, "room:1", 3, 5)
		p.Close()
		s.kept(t, 1)
		p = connectPackets(t, addr, connect)
		p.send(packetText, `["1","1","room:1","phx_join",{}]`)
		p.want(packetText)
		for _, n := range []string{"3", "4"} {
			if got := p.want(packetText); !strings.Contains(got, n) {
				t.Errorf("received %s; want message %s", got, n)
			}
		}
	})
}

// A guest has no port for raw TCP either.
func TestGuestListensOnNoTCP(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		guest := h.invite(t, "a", channels.Options{}, channels.SocketOptions{}, relayAll())
		if _, err := guest.ListenTCP("127.0.0.1:0"); err == nil {
			t.Error("it listens")
		}
	})
}
