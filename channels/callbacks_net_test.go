package channels_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// rude is an application with one function that fails: the client names it in
// the parameter "at".
type rude struct{ fault func() }

func (r *rude) at(value any, name string) {
	if value == name {
		r.fault()
	}
}

type rudeGuard struct {
	*rude
	where string
}

func (g rudeGuard) Opened()           { g.at(g.where, "Guard.Opened") }
func (g rudeGuard) Closed()           { g.at(g.where, "Guard.Closed") }
func (g rudeGuard) Join(string) error { g.at(g.where, "Guard.Join"); return nil }

func (g rudeGuard) Event(_ string, event []byte) (channels.EventFunc, error) {
	g.at(g.where, "Guard.Event")
	if string(event) != "guarded" {
		return nil, nil
	}
	return func(*channels.Context, channels.Payload) (channels.Reply, error) {
		g.at(g.where, "EventFunc")
		return channels.Reply{Status: "ok"}, nil
	}, nil
}

// options have all the functions of a socket.
func (r *rude) options(onLoop bool) channels.SocketOptions {
	return channels.SocketOptions{
		ConnectOnLoop: onLoop, LongPoll: longPolling,
		CheckOrigin: func(request *channels.Request, _ *url.URL) bool {
			r.at(request.Params.Get("at"), "CheckOrigin")
			return true
		},
		Connect: func(_ context.Context, s *channels.Socket, request *channels.Request) error {
			where := request.Params.Get("at")
			r.at(where, "Connect")
			s.Assign("at", where)
			s.SetGuard(rudeGuard{r, where})
			return nil
		},
		Opened: func(s *channels.Socket) { r.at(s.Get("at"), "Opened") },
		Closed: func(s *channels.Socket) { r.at(s.Get("at"), "Closed") },
	}
}

// loops is a channel on the loop.
func (r *rude) loops() *channels.Channel {
	ch := channels.Handle("loop:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	}).OnLoop()
	channels.On(ch, "each", func(c *channels.Context, p channels.Payload) (channels.Payload, error) {
		c.Socket().EachChannel(func(*channels.Context) { r.at(c.Get("at"), "EachChannel") })
		return p, nil
	})
	channels.On(ch, "handle", func(c *channels.Context, p channels.Payload) (channels.Payload, error) {
		r.at(c.Get("at"), "On")
		return p, nil
	})
	return ch
}

// rudeServer serves a rude application beside rooms.
func rudeServer(t *testing.T, o channels.Options, fault func()) *server {
	r := &rude{fault}
	o.Handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.at(request.URL.Path, "/Handler")
		io.WriteString(w, "fine")
	})
	s := newServer(t, o)
	s.Socket("/socket", channels.SocketOptions{}, room())
	s.Socket("/rude", r.options(false), room(), r.loops())
	s.Socket("/rude/quick", r.options(true), room(), r.loops())
	s.Route("/route", func(below string) (*channels.Endpoint, string, error) {
		r.at(below, "fault/websocket")
		return nil, "", nil
	})
	s.Subscribe("room:heard", func(string, string, channels.Payload) { r.fault() })
	return s
}

// visitRude is a client of a rude application. It does everything that a client
// can do, until it is refused or its connection ends. It returns the status of
// the handshake, the answers to its calls, and whether it was still connected
// at the end.
func visitRude(t *testing.T, s *server, path, where string) (status int, answers string, alive bool) {
	t.Helper()
	c, err := wstest.Dial(s.addr, path+"/websocket?vsn=2.0.0&at="+where, http.Header{"Origin": {"http://x"}})
	var refused *wstest.StatusError
	if errors.As(err, &refused) {
		return refused.Status, "", false
	}
	if err != nil {
		return 0, "", false // the connection was closed without an answer
	}
	p := newPeer(t, c, "vsn=2")
	defer p.Drop()
	answer := func(m envelope, err error) {
		switch {
		case err != nil:
			answers += "- "
		case m.event == "phx_error":
			answers += "phx_error "
		default:
			answers += m.status + " "
		}
	}
	for _, topic := range []string{"room:1", "loop:1"} {
		ref, m, err := p.tryJoin(topic, "{}")
		answer(m, err)
		for _, event := range map[string][]string{"room:1": {"guarded"}, "loop:1": {"each", "handle"}}[topic] {
			sent, err := p.send(ref, topic, event, "{}")
			if err == nil {
				m, err = p.until(func(m envelope) bool { return m.ref == sent || m.event == "phx_error" && m.topic == topic })
			}
			answer(m, err)
		}
	}
	m, err := p.call("", "phoenix", "heartbeat", "{}")
	return 101, strings.TrimSpace(answers), err == nil && m.status == "ok"
}

const fine = "ok ok ok ok ok"

// A function of the application that panics, on a loop or on a goroutine of
// ours, ends what it belongs to and nothing else.
func TestCallbacksThatPanic(t *testing.T) {
	type outcome struct {
		status  int
		answers string
		alive   bool
	}
	tests := map[string]outcome{
		"":             {101, fine, true},
		"CheckOrigin":  {500, "", false},
		"Connect":      {500, "", false},
		"Opened":       {101, fine, true},
		"Closed":       {101, fine, true},
		"Guard.Opened": {101, fine, true},
		"Guard.Closed": {101, fine, true},
		"Guard.Join":   {101, "error error error error error", true}, // the rest is to unmatched topics
		"Guard.Event":  {101, "ok error ok error error", true},
		"EventFunc":    {101, "ok phx_error ok ok ok", true},
		"EachChannel":  {101, fine, true},
		"On":           {101, "ok ok ok ok phx_error", true},
	}
	both(t, func(t *testing.T, o channels.Options) {
		s := rudeServer(t, o, func() { panic("rude") })
		stop := chat(t, s)
		for where, want := range tests {
			for _, path := range []string{"/rude", "/rude/quick"} {
				status, answers, alive := visitRude(t, s, path, where)
				if got := (outcome{status, answers, alive}); got != want {
					t.Errorf("a panic in %s at %s: %+v, want %+v", where, path, got, want)
				}
			}
		}
		faultsElsewhere(t, s)
		if err := s.Broadcast("room:heard", "x", struct{}{}); err != nil {
			t.Error(err)
		}
		for _, at := range []string{"CheckOrigin", "Connect"} {
			lp := s.poller(t)
			lp.target = "/rude/longpoll?vsn=2.0.0&at=" + at
			if a := lp.must("GET", "", http.Header{"Origin": {"http://x"}}); a.http != 500 || a.Status != 500 {
				t.Errorf("a panic in %s of long polling: %d %s", at, a.http, a.raw)
			}
		}
		stop()
		if n := s.Stats().Crashes; n < 2*10 {
			t.Errorf("%d crashes were counted", n)
		}
		if err := shutdown(t, s); err != nil {
			t.Error(err)
		}
		if n := s.Stats(); n.Sockets != 0 || n.Channels != 0 || n.Network.Connections != 0 {
			t.Errorf("left: %+v", n)
		}
		assertNothingLeft(t)
	})
}

// faultsElsewhere makes the functions fail that do not belong to a socket.
func faultsElsewhere(t *testing.T, s *server) {
	t.Helper()
	if status, _, _ := s.handshake(t, "/route/fault/websocket?vsn=2.0.0", nil); status != 500 {
		t.Errorf("a panic in a Route: %d", status)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if r, err := client.Get("http://" + s.addr + "/Handler"); err == nil {
		t.Errorf("a panic in the Handler: %d", r.StatusCode)
		r.Body.Close()
	}
	r, err := client.Get("http://" + s.addr + "/other")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "fine" {
		t.Errorf("the Handler afterwards: %s, %v", body, err)
	}
}

// runtime.Goexit, which t.FailNow calls in a test, cannot be recovered from: it
// ends the connection that it was called for, and the loop goes on.
func TestCallbacksThatExit(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakeTimeout = patience
		s := rudeServer(t, o, runtime.Goexit)
		stop := chat(t, s)
		for _, where := range []string{
			"CheckOrigin", "Connect", "Opened", "Closed", "Guard.Opened", "Guard.Closed", "Guard.Join", "Guard.Event", "EventFunc",
			"EachChannel", "On",
		} {
			for _, path := range []string{"/rude", "/rude/quick"} {
				for range 3 {
					visitRude(t, s, path, where)
				}
			}
		}
		for range 3 {
			if err := s.Broadcast("room:heard", "x", struct{}{}); err != nil {
				t.Error(err)
			}
			s.handshakeOrEnd("/route/fault/websocket?vsn=2.0.0")
		}
		if status, answers, alive := visitRude(t, s, "/rude/quick", ""); status != 101 || answers != fine || !alive {
			t.Errorf("afterwards: %d %s %v", status, answers, alive)
		}
		stop()
		if err := shutdown(t, s); err != nil {
			t.Error(err)
		}
		if n := s.Stats(); n.Sockets != 0 || n.Channels != 0 || n.Network.Connections != 0 {
			t.Errorf("left: %+v", n)
		}
	})
}

// handshakeOrEnd tries to connect. The connection may also be closed without an
// answer.
func (s *server) handshakeOrEnd(target string) {
	if c, err := wstest.Dial(s.addr, target, nil); err == nil {
		c.Drop()
	}
}

// All receivers of a broadcast get it, even if one of them fails.
func TestReceiversThatFail(t *testing.T) {
	for name, fault := range map[string]func(){"panic": func() { panic("rude") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				s := serve(t, o, channels.SocketOptions{}, room())
				p := s.dial(t)
				p.join("room:1", "{}")
				var heard atomic.Int64
				for range 5 {
					s.Subscribe("room:1", func(string, string, channels.Payload) { heard.Add(1); fault() })
				}
				for n := range int64(4) {
					if err := s.Broadcast("room:1", "news", struct{}{}); err != nil {
						t.Fatal(err)
					}
					p.assertNext("", "room:1", "news", "{}")
					waitFor(t, "all to hear it", func() bool { return heard.Load() == 5*(n+1) })
				}
			})
		})
	}
}

// certifier is a tls.Config whose GetCertificate fails for one name.
func certifier(config *tls.Config, fault func()) *tls.Config {
	certificate := config.Certificates[0]
	return &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.ServerName == "rude.localhost" {
			fault()
		}
		return &certificate, nil
	}}
}

func TestGetCertificateThatFails(t *testing.T) {
	for name, fault := range map[string]func(){"panic": func() { panic("rude") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				serverSide, clientSide := selfSigned(t)
				o.TLS = certifier(serverSide, fault)
				s := serve(t, o, channels.SocketOptions{}, room())
				for range 3 {
					bad := clientSide.Clone()
					bad.ServerName = "rude.localhost"
					if c, err := tls.Dial("tcp", s.addr, bad); err == nil {
						c.Close()
						t.Error("the handshake succeeded")
					}
				}
				p := dialTLS(t, s.addr, clientSide)
				p.join("room:1", "{}")
				waitFor(t, "the failed connections to be forgotten", func() bool { return s.Stats().Network.Connections == 1 })
			})
		})
	}
}

// rudeJSON cannot be encoded.
type rudeJSON struct{}

func (rudeJSON) MarshalJSON() ([]byte, error) { panic("rude") }

// A payload that panics while it is encoded is an error for its sender.
func TestMarshalJSONThatPanics(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		ch := room()
		channels.On(ch, "reply", func(*channels.Context, text) (any, error) { return rudeJSON{}, nil })
		channels.On(ch, "push", func(c *channels.Context, _ text) (map[string]bool, error) {
			return map[string]bool{"push": c.Push("x", rudeJSON{}) != nil, "broadcast": c.Broadcast("x", rudeJSON{}) != nil}, nil
		})
		s := serve(t, o, channels.SocketOptions{}, ch)
		p := s.dial(t)
		p.join("room:2", "{}")
		ref := p.join("room:1", "{}")
		if err := s.Broadcast("room:1", "x", rudeJSON{}); err == nil {
			t.Error("a broadcast without an error")
		}
		p.assertReply(ref, "room:1", "push", "{}", "ok", `{"broadcast":true,"push":true}`)
		p.push(ref, "room:1", "reply", "{}")
		p.assertNext(ref, "room:1", "phx_error", `{"reason":"channel_crash"}`)
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

// A guard whose refusal cannot be encoded refuses all the same.
func TestGuardWithRudeRefusal(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, _ *channels.Request) error {
			s.SetGuard(refusing{})
			return nil
		}}, room())
		p := s.dial(t)
		_, reply, err := p.tryJoin("room:1", "{}")
		if err != nil || reply.status != "error" || string(reply.response) != `{"reason":"unauthorized"}` {
			t.Errorf("%v, %v", reply, err)
		}
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

type refusing struct{}

func (refusing) Opened()           {}
func (refusing) Closed()           {}
func (refusing) Join(string) error { return &channels.ReplyError{Response: rudeJSON{}} }

func (refusing) Event(string, []byte) (channels.EventFunc, error) { return nil, nil }

var _ json.Marshaler = rudeJSON{}
