package channels_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// book is a state of that many parts, of half a KiB or so each.
func book(parts int) *prepared.State {
	m := prepared.Message{Event: "book", Parts: []*prepared.Part{prepared.NewPart([]byte(`{"pages":[0`))}}
	for i := range parts {
		m.Parts = append(m.Parts, prepared.NewPart(fmt.Appendf(nil, `,"%04d %s"`, i, strings.Repeat("page", 125))))
	}
	m.Parts = append(m.Parts, prepared.NewPart([]byte("]}")))
	return &prepared.State{Series: []prepared.Message{m}}
}

var books = map[string]*prepared.State{"thin": book(3), "medium": book(200), "thick": book(2000)}

// library pushes a book between two small messages.
func library() *channels.Channel {
	ch := channels.Handle("library:*", func(*channels.Context, struct{}) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "read", func(c *channels.Context, p text) (channels.NoReply, error) {
		return channels.NoReply{}, errors.Join(
			c.Push("before", struct{}{}), c.Push("book", books[p.Body]), c.Push("after", struct{}{}))
	})
	return ch
}

func flat(s *prepared.State) string { return string(s.Series[0].AppendPayload(nil)) }

// TestPushParts: a payload in parts comes whole, in its place, to every kind of socket, and nobody changes it.
func TestPushParts(t *testing.T) {
	want := make(map[string]string)
	for name, parts := range books {
		want[name] = flat(parts)
	}
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS, o.Limits.OutboundBytes = serverSide, 16<<20
		so := compressing
		so.LongPoll = longPolling
		s := serve(t, o, so, library())
		deflating := offering("permessage-deflate; client_max_window_bits")
		for name, p := range map[string]*peer{
			"version 2": s.dial(t), "version 1": s.dialV1(t), "TLS": dialTLS(t, s.addr, clientSide),
			"compressed version 2": s.dialTarget(t, "/socket/websocket?vsn=2.0.0", deflating),
			"compressed version 1": s.dialTarget(t, "/socket/websocket", deflating),
		} {
			t.Run(name, func(t *testing.T) { readBooks(p, want) })
		}
		c := s.polls(t)
		c.join("library:1")
		for name, whole := range want {
			c.post(fmt.Sprintf(`["1",null,"library:1","read",{"body":%q}]`, name))
			c.assertNext("1", "", "library:1", "before", "{}")
			c.assertNext("1", "", "library:1", "book", whole)
			c.assertNext("1", "", "library:1", "after", "{}")
		}
	})
	for name, parts := range books {
		if flat(parts) != want[name] {
			t.Errorf("the %s book has changed", name)
		}
	}
}

func readBooks(p *peer, want map[string]string) {
	ref := p.join("library:1", "{}")
	inPush := ref
	if p.v1 {
		inPush = ""
	}
	for name, whole := range want {
		p.push(ref, "library:1", "read", fmt.Sprintf(`{"body":%q}`, name))
		p.assertNext(inPush, "library:1", "before", "{}")
		p.assertNext(inPush, "library:1", "book", whole)
		p.assertNext(inPush, "library:1", "after", "{}")
	}
}
