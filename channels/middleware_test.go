package channels_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// seen is what middleware has seen, in order.
type seen struct {
	mu    sync.Mutex
	lines []string
}

func (s *seen) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last take.
func (s *seen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.lines = nil }()
	return strings.Join(s.lines, "; ")
}

// middleware notes each call and its outcome.
func (s *seen) middleware(name string) channels.Middleware {
	return func(next channels.Handler) channels.Handler {
		return func(c *channels.Context, p channels.Payload) (reply channels.Reply, err error) {
			s.add("%s %s %s %s", name, c.Event(), c.EventPattern(), p.Data)
			outcome := "panic"
			defer func() { s.add("%s %s", name, outcome) }()
			reply, err = next(c, p)
			outcome = fmt.Sprint(reply.Status, " ", err)
			return reply, err
		}
	}
}

func refusal(next channels.Handler) channels.Handler {
	return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
		switch string(p.Data) {
		case `{"do":"refuse"}`:
			return channels.Reply{}, channels.Errorf("not you")
		case `{"do":"forget"}`:
			return channels.Reply{}, nil
		case `{"do":"deny"}`:
			return channels.Reply{Status: "error", Response: map[string]int{"code": 7}}, nil
		case `{"do":"replace"}`:
			return next(c, channels.Payload{Data: []byte(`{"text":"replaced"}`)})
		}
		return next(c, p)
	}
}

type spoken struct {
	Text string `json:"text"`
}

func wrapped(notes *seen) *channels.Channel {
	room := channels.Handle("room:*", func(_ *channels.Context, p spoken) (spoken, error) { return p, nil })
	room.Use(notes.middleware("first"), notes.middleware("second"))
	channels.On(room, "say", func(_ *channels.Context, p spoken) (spoken, error) { return p, nil })
	channels.On(room, "bytes", func(_ *channels.Context, b channels.Binary) (channels.Binary, error) { return b, nil })
	channels.On(room, "quiet", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
	channels.On(room, "fail", func(*channels.Context, spoken) (spoken, error) { return spoken{}, errors.New("failed") })
	channels.On(room, "crash", func(*channels.Context, spoken) (spoken, error) { panic("crash") })
	channels.OnPrefix(room, "lv:", func(_ *channels.Context, name string, p spoken) (spoken, error) { return spoken{name}, nil })
	channels.OnPrefix(room, "lv:sub:", func(_ *channels.Context, name string, p spoken) (channels.Reply, error) {
		return channels.Reply{Status: "sub", Response: spoken{name}}, nil
	})
	channels.On(room, "lv:sub:own", func(*channels.Context, spoken) (spoken, error) { return spoken{"own"}, nil })
	room.Use(refusal)
	return room
}

// Middleware sees every kind of handler and outcome, and the longest prefix wins.
func TestMiddleware(t *testing.T) {
	for _, onLoop := range []bool{false, true} {
		t.Run(fmt.Sprintf("loop=%t", onLoop), func(t *testing.T) {
			notes := new(seen)
			room := wrapped(notes)
			if onLoop {
				room.OnLoop()
			}
			e := channelstest.Start(t, channels.Options{})
			e.Socket("/socket", channels.SocketOptions{}, room)
			socket := channelstest.Connect(t, e, "/socket")
			assertJoins(t, socket, notes)
			ch := socket.Join("room:1", spoken{"hi"})
			notes.take()
			for _, test := range []struct {
				event     string
				payload   any
				status    string
				response  any
				wantNotes string
			}{
				{"say", spoken{"a"}, "ok", spoken{"a"}, `say say {"text":"a"} ok <nil>`},
				{"say", map[string]int{"text": 1}, "error", map[string]any{"reason": `invalid payload: "text" is a JSON number where a string belongs`},
					`say say {"text":1}  channels: error reply: invalid payload: "text" is a JSON number where a string belongs`},
				{"say", map[string]string{"do": "refuse"}, "error", map[string]any{"reason": "not you"},
					`say say {"do":"refuse"}  channels: error reply: not you`},
				{"say", map[string]string{"do": "replace"}, "ok", spoken{"replaced"}, `say say {"do":"replace"} ok <nil>`},
				{"fail", spoken{}, "error", map[string]any{"reason": "internal error"}, `fail fail {"text":""}  failed`},
				{"lv:a", spoken{}, "ok", spoken{"a"}, `lv:a lv:* {"text":""} ok <nil>`},
				{"lv:", spoken{}, "ok", spoken{""}, `lv: lv:* {"text":""} ok <nil>`},
				{"lv:sub:a", spoken{}, "sub", spoken{"a"}, `lv:sub:a lv:sub:* {"text":""} sub <nil>`},
				{"lv:sub:own", spoken{}, "ok", spoken{"own"}, `lv:sub:own lv:sub:own {"text":""} ok <nil>`},
			} {
				ch.Push(test.event, test.payload).AssertReply(test.status, test.response)
				assertNotes(t, notes, test.wantNotes)
			}
			ch.Push("quiet", spoken{})
			ch.Push("bytes", channels.Binary("x")).AssertReply("ok", channels.Binary("x"))
			if got, want := notes.take(), `first quiet quiet {"text":""}; second quiet quiet {"text":""}; second  <nil>; first  <nil>; `+
				`first bytes bytes x; second bytes bytes x; second ok <nil>; first ok <nil>`; got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
			ch.Push("crash", spoken{})
			ch.AssertError()
			assertNotes(t, notes, `crash crash {"text":""} panic`)
			ch = socket.Join("room:1", spoken{"hi"})
			notes.take()
			ch.Push("lw:unknown", spoken{})
			ch.AssertError()
			assertNotes(t, notes, `lw:unknown  {"text":""} panic`)
		})
	}
}

// assertNotes compares what both of the middleware have seen of one event.
func assertNotes(t *testing.T, notes *seen, want string) {
	t.Helper()
	call, outcome := want[:strings.Index(want, "}")+1], want[strings.Index(want, "}")+2:]
	whole := fmt.Sprintf("first %s; second %s; second %s; first %s", call, call, outcome, outcome)
	if got := notes.take(); got != whole {
		t.Errorf("%s\nwant %s", got, whole)
	}
}

// assertJoins checks that a client joins only if the middleware lets it.
func assertJoins(t *testing.T, socket *channelstest.Client, notes *seen) {
	t.Helper()
	var got []string
	for _, params := range []any{
		spoken{"a"}, map[string]string{"do": "refuse"}, map[string]string{"do": "forget"},
		map[string]string{"do": "deny"}, map[string]string{"do": "replace"}, map[string]int{"text": 1},
	} {
		ch, reply := socket.TryJoin("room:1", params)
		got = append(got, reply.Status+" "+string(reply.Response))
		if ch != nil && reply.Status == "ok" {
			ch.Leave()
		}
	}
	want := []string{
		`ok {"text":"a"}`, `error {"reason":"not you"}`, `error {"reason":"unauthorized"}`, `error {"code":7}`,
		`ok {"text":"replaced"}`, `error {"reason":"invalid payload: \"text\" is a JSON number where a string belongs"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("joins: %q\nwant %q", got, want)
	}
	if got := notes.take(); !strings.HasPrefix(got, `first phx_join phx_join {"text":"a"}; second phx_join`) {
		t.Errorf("joins: %s", got)
	}
}

func TestOnPrefixMisuse(t *testing.T) {
	handler := func(*channels.Context, string, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	}
	room := channels.Handle("room", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
	channels.OnPrefix(room, "a:", handler)
	for name, misuse := range map[string]func(){
		"twice": func() { channels.OnPrefix(room, "a:", handler) },
		"empty": func() { channels.OnPrefix(room, "", handler) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}
