package channels_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/wire"
)

// secrets is Phoenix's version 2 for channels with the scope "secret:".
type secrets struct{ wire.V2 }

func (s secrets) AppendBroadcast(dst []byte, topic, event string, p wire.Payload) ([]byte, bool, error) {
	return s.V2.AppendBroadcast(dst, strings.TrimPrefix(topic, "secret:"), event, p)
}

// TestScope: channels of one topic in two scopes get nothing from each other, and their clients see the same
// topic.
func TestScope(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		quiet := zerolog.Nop() // a panic is meant
		o.Logger = &quiet
		var who atomic.Pointer[presence.Tracker]
		type tracked struct{}
		ch := channels.Handle("room:*", func(c *channels.Context, _ channels.Payload) (string, error) {
			return c.Topic() + " " + c.Subtopic(), c.Send(tracked{})
		})
		ch.Scope(func(params channels.Payload) string {
			switch {
			case bytes.Contains(params.Data, []byte("secret")):
				return "secret:"
			case bytes.Contains(params.Data, []byte("panic")):
				panic("in a scope")
			}
			return ""
		})
		channels.Info(ch, func(c *channels.Context, _ tracked) error {
			if _, err := who.Load().Track(c, c.Topic(), struct{}{}); err != nil {
				return err
			}
			return who.Load().PushState(c)
		})
		channels.On(ch, "say", func(c *channels.Context, p channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, c.Relay("said", p)
		})
		s := serve(t, o, channels.SocketOptions{Dialect: func(wire.Offer) (wire.Serializer, error) { return secrets{}, nil }}, ch)
		tracker := presence.New(s.Endpoint, presence.Options{})
		t.Cleanup(tracker.Close)
		who.Store(tracker)

		open, secret := s.dial(t), s.dial(t)
		joined := func(p *peer, params, topic string) (joinRef string) {
			t.Helper()
			joinRef, reply, err := p.tryJoin("room:1", params)
			if err != nil || string(reply.response) != `"`+topic+` 1"` || reply.topic != "room:1" {
				t.Fatalf("joining: %v, %v", reply, err)
			}
			return joinRef
		}
		openRef, secretRef := joined(open, "{}", "room:1"), joined(secret, `{"secret":true}`, "secret:room:1")
		for p, topic := range map[*peer]string{open: "room:1", secret: "secret:room:1"} {
			for _, event := range []string{"presence_diff", "presence_state"} {
				m, err := p.read()
				if err != nil || m.event != event || m.topic != "room:1" || !bytes.Contains(m.payload, []byte(`"`+topic+`":{`)) || bytes.Count(m.payload, []byte(`"phx_ref"`)) != 1 {
					t.Fatalf("%s got %v: %v", topic, m, err)
				}
			}
		}
		open.push(openRef, "room:1", "say", `{"by":"open"}`)
		open.assertNext("", "room:1", "said", `{"by":"open"}`)
		secret.push(secretRef, "room:1", "say", `{"by":"secret"}`)
		secret.assertNext("", "room:1", "said", `{"by":"secret"}`)
		if err := s.Broadcast("secret:room:1", "told", struct{}{}); err != nil {
			t.Fatal(err)
		}
		secret.assertNext("", "room:1", "told", `{}`)

		// A join in another scope replaces the first one, and one whose scope is not known is refused.
		joined(open, `{"secret":true}`, "secret:room:1")
		open.assertNext(openRef, "room:1", "phx_close", `{}`)
		if _, reply, err := open.tryJoin("room:2", `{"panic":true}`); err != nil || string(reply.response) != `{"reason":"join crashed"}` {
			t.Errorf("a join whose scope panics: %v, %v", reply, err)
		}
	})
}
