package channels_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// handshake tries to connect and returns the status, and the client if it is
// 101.
func (s *server) handshake(t testing.TB, target string, header http.Header) (status int, body string, p *peer) {
	t.Helper()
	c, err := wstest.Dial(s.addr, target, header)
	var refused *wstest.StatusError
	switch {
	case err == nil:
		return http.StatusSwitchingProtocols, "", newPeer(t, c, target)
	case errors.As(err, &refused):
		return refused.Status, refused.Body, nil
	}
	t.Fatalf("handshake with %s: %v", target, err)
	return 0, "", nil
}

func TestConnectOutcomes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) { testConnectOutcomes(t, o, false) })
}

func TestConnectOnLoopOutcomes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) { testConnectOutcomes(t, o, true) })
}

func testConnectOutcomes(t *testing.T, o channels.Options, onLoop bool) {
	o.Limits.HandshakeTimeout = patience
	s := serve(t, o, channels.SocketOptions{
		ConnectOnLoop: onLoop,
		Connect: func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
			if _, timeout := ctx.Deadline(); timeout == onLoop {
				t.Errorf("a context with a deadline: %v; on the loop: %v", timeout, onLoop)
			}
			if looped := bytes.Contains(debug.Stack(), []byte("arrival).HandleData")); looped != onLoop {
				t.Errorf("Connect ran on the loop: %v, want %v", looped, onLoop)
			}
			switch r.Params.Get("do") {
			case "panic":
				panic("connect panics")
			case "nil":
				_ = nilText.Body
			case "error":
				return errors.New("a secret reason")
			case "custom":
				return &channels.RefusedError{Status: 402, Body: "pay first"}
			case "wrapped":
				return errors.Join(errors.New("context"), &channels.RefusedError{Status: 423, Body: "locked"})
			}
			s.SetID("user:1")
			return nil
		},
	}, room())
	for what, want := range map[string]struct {
		status int
		body   string
	}{
		"panic": {500, ""}, "nil": {500, ""}, "error": {403, ""}, "custom": {402, "pay first"}, "wrapped": {423, "locked"},
		"accept": {101, ""},
	} {
		status, body, _ := s.handshake(t, "/socket/websocket?vsn=2.0.0&do="+what, nil)
		if status != want.status || body != want.body {
			t.Errorf("%s: %d %q, want %d %q", what, status, body, want.status, want.body)
		}
	}
	// connect runs before it is asked whether it is an upgrade at all.
	for what, want := range map[string][]int{"error": {403}, "accept": {400, 426}} {
		status, _, _ := s.handshake(t, "/socket/websocket?vsn=2.0.0&do="+what, http.Header{"Upgrade": nil, "Connection": nil})
		if !slices.Contains(want, status) {
			t.Errorf("no upgrade, %s: %d, want one of %v", what, status, want)
		}
	}
}

// Frames wait while Connect blocks, whether they came with the handshake or
// behind it; nobody else waits.
func TestConnectBlocks(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Loops, o.Limits.HandshakeTimeout = 1, patience
		release := make(chan struct{})
		entered := make(chan struct{}, 10)
		s := serve(t, o, channels.SocketOptions{Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			if r.Params.Get("block") != "" {
				entered <- struct{}{}
				<-release
			}
			return nil
		}}, room())
		p, gone := s.raw(t), s.raw(t)
		head := string(wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0&block=1", nil))
		p.write(head + string(frames(`["1","1","room:1","phx_join",{}]`)))
		<-entered
		gone.write(head)
		<-entered
		for i := range 20 {
			p.write(string(frames(p.text("1", "e", "room:1", "echo", string(rune('0'+i%10))))))
			free := s.dial(t)
			ref := free.join("room:2", "{}")
			free.assertReply(ref, "room:2", "echo", "[]", "ok", "[]")
			free.Drop()
		}
		gone.Drop()
		close(release)
		if status, _ := p.answer(); status != 101 {
			t.Fatalf("status %d", status)
		}
		if m := p.await("phx_reply"); m.ref != "1" || m.status != "ok" {
			t.Errorf("join: %v", m)
		}
		for i := range 20 {
			if m := p.await("phx_reply"); string(m.response) != string(rune('0'+i%10)) {
				t.Errorf("echo %d: %v", i, m)
			}
		}
		p.Drop()
		waitFor(t, "all sockets to be gone", func() bool { return s.Stats().Sockets == 0 && s.Stats().Network.Connections == 0 })
	})
}

// A client whose Connect does not return is answered after Limits.HandshakeTimeout,
// whether Connect looks at its context or not.
func TestConnectTimeout(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakeTimeout = shortLimit
		forever := make(chan struct{})
		s := serve(t, o, channels.SocketOptions{Connect: func(ctx context.Context, _ *channels.Socket, r *channels.Request) error {
			if r.Params.Get("deaf") != "" {
				<-forever
			}
			<-ctx.Done()
			return ctx.Err()
		}}, room())
		t.Cleanup(func() { close(forever) })
		for query, want := range map[string][]int{"": {http.StatusForbidden, http.StatusServiceUnavailable}, "?deaf=1": {http.StatusServiceUnavailable}} {
			c, err := wstest.Dial(s.addr, "/socket/websocket"+query, nil)
			var refused *wstest.StatusError
			if err == nil {
				c.Drop()
				t.Error("connected")
			} else if !errors.As(err, &refused) || !slices.Contains(want, refused.Status) {
				t.Errorf("%q: %v, want %v", query, err, want)
			}
		}
	})
}

func TestOriginTable(t *testing.T) {
	type sample struct {
		host, origin string
		want         int
	}
	for name, c := range map[string]struct {
		check   channels.OriginCheck
		samples []sample
	}{
		"same host": {nil, []sample{
			{"localhost:4000", "", 101},
			{"localhost:4000", "http://localhost:4000", 101},
			{"localhost:4000", "https://localhost:4000", 101}, // a proxy may have ended TLS
			{"LOCALHOST:4000", "http://localhost:4000", 101},
			{"localhost:4000", "http://localhost:5173", 101}, // a development server
			{"localhost:4000", "http://localhost", 101},
			{"localhost", "capacitor://localhost", 101},
			{"example.com", "http://EXAMPLE.com", 101},
			{"example.com:443", "https://example.com", 101},
			{"example.com", "http://www.example.com", 403},
			{"example.com", "http://evil.com", 403},
			{"example.com", "http://example.com.evil.com", 403},
			{"example.com", "http://example.com@evil.com", 403},
			{"example.com", "capacitor://localhost", 403},
			{"example.com", "null", 403},
			{"example.com", "file://", 403},
			{"example.com", "example.com", 403}, // no origin: it has no scheme
			{"example.com", "::", 403},
			{"[::1]:4000", "http://[::1]:4000", 101},
			{"[::1]", "http://[::1]", 101},
			{"[0:0:0:0:0:0:0:1]:5100", "http://[::1]:5100", 101},
			{"[::ffff:127.0.0.1]:1", "http://127.0.0.1:2", 101},
			{"[::1]:4000", "http://[::2]:4000", 403},
			{"", "null", 403},
			{"", "file://", 403},
		}},
		"same origin": {channels.SameOrigin, []sample{
			{"localhost:4000", "", 101},
			{"localhost:4000", "https://localhost:4000", 101},
			{"example.com:443", "https://example.com", 101},
			{"example.com:80", "http://example.com", 101},
			{"[0:0:0:0:0:0:0:1]:5100", "http://[::1]:5100", 101},
			{"localhost:4000", "http://localhost", 403},
			{"localhost:4000", "http://localhost:4001", 403},
			{"example.com", "http://evil.com", 403},
			{"example.com", "null", 403},
			{"", "null", 403},
		}},
		"origins": {channels.Origins("https://example.com", "null"), []sample{
			{"x", "https://example.com", 101},
			{"x", "null", 101},
			{"x", "http://example.com", 403},
			{"evil.com", "http://evil.com", 403}, // the list alone counts
			{"x", "", 101},
		}},
		"any": {channels.AnyOrigin, []sample{{"x", "http://evil.com", 101}, {"x", "null", 101}, {"x", "", 101}}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				s := serve(t, o, channels.SocketOptions{CheckOrigin: c.check}, room())
				for _, c := range c.samples {
					header := http.Header{"Host": {c.host}}
					if c.origin != "" {
						header.Set("Origin", c.origin)
					}
					status, body, p := s.handshake(t, "/socket/websocket?vsn=2.0.0", header)
					if status != c.want || status == 403 && !strings.Contains(body, c.origin) {
						t.Errorf("host %s, origin %s: %d %q, want %d", c.host, c.origin, status, body, c.want)
					}
					if p != nil {
						p.Drop()
					}
				}
			})
		})
	}
}

// A refusal says to whoever develops the page, in the body and in the log, which
// origin was refused, what is allowed and what changes that.
func TestOriginRefusalSaysWhy(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for help, so := range map[string]channels.SocketOptions{
			"from any port. SocketOptions.CheckOrigin allows others": {},
			"SocketOptions.CheckOrigin says":                         {CheckOrigin: channels.Origins("//a.test")},
			"see the manual":                                         {OriginHelp: "see the manual"},
		} {
			lines := new(logged)
			log := zerolog.New(lines)
			o.Logger = &log
			s := serve(t, o, so, room())
			status, body, _ := s.handshake(t, "/socket/websocket?vsn=2.0.0", http.Header{"Host": {"b.test"}, "Origin": {"https://evil.test"}})
			if status != 403 {
				t.Errorf("status %d", status)
			}
			for _, want := range []string{"https://evil.test", "b.test", help} {
				if !strings.Contains(body, want) || !strings.Contains(lines.String(), want) {
					t.Errorf("body %q, log %s: want %q", body, lines.String(), want)
				}
			}
			if !strings.Contains(lines.String(), `"path":"/socket/websocket"`) {
				t.Errorf("the log has not the request's path: %s", lines.String())
			}
			status, body, _ = s.handshake(t, "/socket/websocket?vsn=2.0.0", http.Header{"Host": {"b.test"}, "Origin": {"https://" + strings.Repeat("x", 10_000)}})
			if status != 403 || len(body) > 1000 {
				t.Errorf("a long origin: %d, %d bytes", status, len(body))
			}
		}
	})
}

func TestAuthToken(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		type connected struct {
			token string
			ok    bool
			left  []string
		}
		seen := make(chan connected, 1)
		connect := func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			token, ok := r.AuthToken()
			seen <- connected{token, ok, r.Header.Values("Sec-Websocket-Protocol")}
			return nil
		}
		s := serve(t, o, channels.SocketOptions{Connect: connect, AuthToken: true}, room())
		s.Socket("/plain", channels.SocketOptions{Connect: connect}, room())
		const prefix = "base64url.bearer.phx."
		hard := "??>>~~\xff\xff" // has + and / in the standard alphabet
		for name, c := range map[string]struct {
			path, offer string
			want        connected
			protocol    string
			status      int
		}{
			"standard alphabet": {"/socket", "phoenix, " + prefix + base64.RawStdEncoding.EncodeToString([]byte(hard)), connected{hard, true, nil}, "phoenix", 101},
			"url alphabet":      {"/socket", "phoenix, " + prefix + base64.RawURLEncoding.EncodeToString([]byte(hard)), connected{hard, true, nil}, "phoenix", 101},
			"padded":            {"/socket", "phoenix, " + prefix + base64.StdEncoding.EncodeToString([]byte("abcd")), connected{"abcd", true, nil}, "phoenix", 101},
			"token first":       {"/socket", prefix + "YWJj, phoenix", connected{"abc", true, nil}, "phoenix", 101},
			"empty":             {"/socket", "phoenix, " + prefix, connected{"", true, nil}, "phoenix", 101},
			"none":              {"/socket", "phoenix", connected{"", false, nil}, "phoenix", 101},
			"nothing":           {"/socket", "", connected{}, "", 101},
			"not base64":        {"/socket", "phoenix, " + prefix + "a!b", connected{}, "", 400},
			"unknown":           {"/socket", "other", connected{}, "", 403},
			"no token socket":   {"/plain", "phoenix, " + prefix + "YWJj", connected{"", false, nil}, "", 101},
		} {
			header := http.Header{}
			if c.offer != "" {
				header.Set("Sec-WebSocket-Protocol", c.offer)
			}
			status, _, p := s.handshake(t, c.path+"/websocket?vsn=2.0.0", header)
			if status != c.status {
				t.Errorf("%s: %d, want %d", name, status, c.status)
			}
			if status != 101 {
				continue
			}
			if got := <-seen; got.token != c.want.token || got.ok != c.want.ok {
				t.Errorf("%s: token %q %v", name, got.token, got.ok)
			} else if c.path == "/socket" && len(got.left) > 0 && slices.ContainsFunc(got.left, func(s string) bool { return len(s) > len("phoenix") }) {
				t.Errorf("%s: the token is left in the header: %q", name, got.left)
			}
			if got := p.Header.Get("Sec-Websocket-Protocol"); got != c.protocol {
				t.Errorf("%s: the answer names %q, want %q", name, got, c.protocol)
			}
			p.join("room:1", "{}")
			p.Drop()
		}
	})
}

func TestSubprotocols(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{Subprotocols: []string{"chat.v2", "chat.v1"}}, room())
		s.Socket("/open", channels.SocketOptions{}, room())
		for _, c := range []struct {
			path, offer string
			status      int
			named       string
		}{
			{"/socket", "chat.v1, chat.v2", 101, "chat.v2"}, // the server's order
			{"/socket", "chat.v1", 101, "chat.v1"},
			{"/socket", "other,chat.v1", 101, "chat.v1"},
			{"/socket", "CHAT.V1", 403, ""},
			{"/socket", "other", 403, ""},
			{"/socket", "", 101, ""},
			{"/open", "other", 101, ""},
		} {
			header := http.Header{}
			if c.offer != "" {
				header.Set("Sec-WebSocket-Protocol", c.offer)
			}
			status, _, p := s.handshake(t, c.path+"/websocket", header)
			if status != c.status {
				t.Errorf("%s, %q: %d, want %d", c.path, c.offer, status, c.status)
			} else if p != nil {
				if got := p.Header.Get("Sec-Websocket-Protocol"); got != c.named {
					t.Errorf("%s, %q: the answer names %q, want %q", c.path, c.offer, got, c.named)
				}
				p.Drop()
			}
		}
	})
}

func TestVersions(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		for query, want := range map[string]int{
			"": 1, "?vsn=1.0.0": 1, "?vsn=1.0.7": 1, "?vsn=2.0.0": 2, "?vsn=2.0.3": 2, "?vsn=2.0.0%2Bbuild.5": 2, "?x=1&vsn=2.0.0": 2,
			"?vsn=": 0, "?vsn": 0, "?vsn=2": 0, "?vsn=2.0": 0, "?vsn=2.1.0": 0, "?vsn=3.0.0": 0, "?vsn=2.0.0-rc.1": 0, "?vsn=garbage": 0,
			"?vsn[]=2.0.0": 0, "?vsn[a]=2.0.0": 0, "?vsn=1.0.0&vsn=2.0.0": 2, "?vsn=02.0.0": 0,
		} {
			status, body, p := s.handshake(t, "/socket/websocket"+query, nil)
			if want == 0 {
				if status != 403 || body != "" {
					t.Errorf("%q: %d %q, want 403 and no body", query, status, body)
				}
				continue
			}
			if status != 101 {
				t.Errorf("%q: %d", query, status)
				continue
			}
			p.v1 = want == 1
			p.join("room:1", "{}")
			p.Drop()
		}
	})
}

func TestNestedParams(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		seen := make(chan string, 1)
		s := serve(t, o, channels.SocketOptions{Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			delete(r.Params, "vsn")
			text, err := json.Marshal(r.Params)
			seen <- string(text)
			return err
		}}, room())
		for query, want := range map[string]string{
			"a=1&b=":                    `{"a":"1","b":""}`,
			"user[name]=ada&user[id]=7": `{"user":{"id":"7","name":"ada"}}`,
			"list[]=1&list[]=2":         `{"list":["1","2"]}`,
			"a[b][c]=d":                 `{"a":{"b":{"c":"d"}}}`,
			"a%5Bb%5D=1":                `{"a":{"b":"1"}}`,
			"a=1&a=2":                   `{"a":"2"}`,
			"q=a+b%20c%26d":             `{"q":"a b c\u0026d"}`,
			"token=%E2%82%AC":           `{"token":"€"}`,
			"a[=1":                      `{"a[":"1"}`,
			"a=%zz":                     `{"a":"%zz"}`, // a percent sign that begins no escape
			"a=%&b=50%+off":             `{"a":"%","b":"50% off"}`,
			"[]=1":                      `{"[]":"1"}`,
			"a[b]=1&a[c][]=2&a[c][]=3":  `{"a":{"b":"1","c":["2","3"]}}`,
		} {
			status, _, p := s.handshake(t, "/socket/websocket?vsn=2.0.0&"+query, nil)
			if status != 101 {
				t.Errorf("%q: %d", query, status)
				continue
			}
			p.Drop()
			if got := <-seen; got != want {
				t.Errorf("%q: %s, want %s", query, got, want)
			}
		}
		for _, query := range []string{"a=%ff", "a=%C3"} {
			if status, _, _ := s.handshake(t, "/socket/websocket?vsn=2.0.0&"+query, nil); status != 400 {
				t.Errorf("%q: %d, want 400", query, status)
			}
		}
	})
}
