package channels_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
	"github.com/mycelium-rt/mycelium/wire"
)

// toy is a dialect with one version, "toy". A message in text is five fields with a
// space between: topic, event, join_ref, ref ("-" is null) and payload. Broadcasts
// are binary where the transport carries that: kind 8, the sizes of topic and event,
// these two, j or b for JSON or bytes, and the payload. Clients may push bytes: kind 7,
// the same without j or b. What cannot be read is ignored, and so is the join_ref
// of all messages but joins.
type toy struct{ textOnly bool }

func toyDialect(o wire.Offer) (wire.Serializer, error) {
	if o.Version == "toy" {
		return toy{o.TextOnly}, nil
	}
	return wire.Phoenix(o)
}

func (toy) Version() string { return "toy" }

func (toy) Decode(frame []byte, binary bool, m *wire.Message) error {
	*m = wire.Message{TopicIsString: true, EventIsString: true}
	if binary {
		if len(frame) < 3 || frame[0] != 7 || len(frame) < 3+int(frame[1])+int(frame[2]) {
			return wire.ErrIgnored
		}
		topic, event := 3+int(frame[1]), 3+int(frame[1])+int(frame[2])
		m.Topic, m.Event, m.Payload = frame[3:topic], frame[topic:event], wire.Payload{Data: frame[event:], Binary: true}
	} else {
		fields := bytes.SplitN(frame, []byte(" "), 5)
		if len(fields) < 5 {
			return wire.ErrIgnored
		}
		payload, err := wire.Validate(fields[4])
		if err != nil {
			return wire.ErrIgnored
		}
		m.Topic, m.Event, m.Ref, m.Payload.Data = fields[0], fields[1], toyRef(fields[3]), payload
		if string(m.Event) == "phx_join" {
			m.JoinRef = toyRef(fields[2])
		}
	}
	m.TopicJSON = wire.AppendString(nil, m.Topic)
	return nil
}

func toyRef(field []byte) wire.Ref {
	if string(field) == "-" {
		return nil
	}
	return wire.AppendString(nil, field)
}

func toyText(dst []byte, topic, event string, joinRef, ref wire.Ref, p wire.Payload) ([]byte, bool, error) {
	if p.Binary {
		return dst, false, wire.ErrNotText
	}
	dst = append(append(append(dst, topic...), ' '), event...)
	for _, r := range []wire.Ref{joinRef, ref} {
		if dst = append(dst, ' '); r == nil {
			dst = append(dst, '-')
		}
		dst = r.AppendText(dst)
	}
	return append(append(dst, ' '), p.Data...), false, nil
}

func (toy) AppendPush(dst []byte, joinRef wire.Ref, topic, event string, p wire.Payload) ([]byte, bool, error) {
	return toyText(dst, topic, event, joinRef, nil, p)
}

func (toy) AppendReply(dst []byte, joinRef, ref wire.Ref, topicJSON []byte, status string, p wire.Payload) ([]byte, bool, error) {
	p.Data = fmt.Appendf(nil, "%s:%s", status, p.Data)
	return toyText(dst, string(wire.Ref(topicJSON).AppendText(nil)), "phx_reply", joinRef, ref, p)
}

func (s toy) AppendBroadcast(dst []byte, topic, event string, p wire.Payload) ([]byte, bool, error) {
	if s.textOnly {
		return toyText(dst, topic, event, nil, nil, p)
	}
	form := byte('j')
	if p.Binary {
		form = 'b'
	}
	dst = append(dst, 8, byte(len(topic)), byte(len(event)))
	dst = append(append(append(dst, topic...), event...), form)
	return append(dst, p.Data...), true, nil
}

func (toy) AppendControl(dst []byte, joinRef wire.Ref, topic, event string, p wire.Payload) []byte {
	dst, _, _ = toyText(dst, topic, event, joinRef, joinRef, p)
	return dst
}

// TestDialect: clients of another dialect than Phoenix's join, push, get replies and
// the same broadcasts as Phoenix's own clients beside them, over both transports.
func TestDialect(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, nil
		})
		channels.On(ch, "say", func(c *channels.Context, p channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, c.Relay("said", p)
		})
		channels.On(ch, "ask", func(c *channels.Context, p channels.Payload) (channels.Payload, error) {
			return p, c.Push("pushed", p)
		})
		s := serve(t, o, channels.SocketOptions{Dialect: toyDialect, LongPoll: longPolling}, ch)

		v1, v2 := s.dialV1(t), s.dial(t)
		v1.join("room:1", "{}")
		v2Ref := v2.join("room:1", "{}")
		poll := s.polls(t)
		poll.join("room:1")
		toys := []toyClient{toySocket(t, s), toyPoller(t, s)}
		for _, c := range toys {
			c.send("room:1 phx_join 7 8 {}")
			c.want("room:1 phx_reply 7 8 ok:{}")
			c.send("nobody can read this")
			c.send(`room:1 ask 6 9 {"stale":"join_ref"}`)
			c.want(`room:1 pushed 7 - {"stale":"join_ref"}`)
			c.want(`room:1 phx_reply 7 9 ok:{"stale":"join_ref"}`)
			c.send("phoenix heartbeat - 10 {}")
			c.want("phoenix phx_reply - 10 ok:{}")
		}

		everybody := func(text, binary string) {
			t.Helper()
			v1.assertNext("", "room:1", "said", text)
			v2.assertNext("", "room:1", "said", text)
			poll.assertNext("", "", "room:1", "said", text)
			toys[0].want(binary)
			toys[1].want("room:1 said - - " + text)
		}
		v2.push(v2Ref, "room:1", "say", `{"by":"V2"}`)
		everybody(`{"by":"V2"}`, "\x08\x06\x04room:1saidj"+`{"by":"V2"}`)
		toys[1].send(`room:1 say - - {"by":"toy"}`)
		everybody(`{"by":"toy"}`, "\x08\x06\x04room:1saidj"+`{"by":"toy"}`)

		// Bytes reach those who can take them: neither version 1 nor a poll.
		toys[0].send("\x07\x06\x03room:1say\x00\xff")
		toys[0].want("\x08\x06\x04room:1saidb\x00\xff")
		if m, err := v2.read(); err != nil || m.event != "said" || string(m.binary) != "\x00\xff" {
			t.Fatalf("version 2 got %v: %v", m, err)
		}
		if err := s.Broadcast("room:1", "said", map[string]int{}); err != nil {
			t.Fatal(err)
		}
		everybody("{}", "\x08\x06\x04room:1saidj{}")
		if n := s.Stats().LongPoll.Binary; n != 2 {
			t.Errorf("%d messages of bytes left out for two polls", n)
		}
		for _, c := range toys {
			c.send("room:1 phx_leave 7 11 {}")
			c.want("room:1 phx_reply 7 11 ok:{}")
			c.want("room:1 phx_close 7 7 {}")
		}
	})
}

// toyClient sends and receives messages as they are.
type toyClient struct {
	send func(message string)
	want func(message string)
	peer *peer // nil for long polling
}

func toySocket(t *testing.T, s *server, params ...string) toyClient {
	c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=toy"+strings.Join(params, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	return toyClient{peer: newPeer(t, c, "vsn=2"), send: func(message string) {
		t.Helper()
		write := c.WriteText
		if message[0] == 7 {
			write = func(m string) error { return c.WriteBinary([]byte(m)) }
		}
		if err := write(message); err != nil {
			t.Fatal(err)
		}
	}, want: func(message string) {
		t.Helper()
		binary, got, err := c.ReadMessage()
		if err != nil || string(got) != message || binary != (message[0] == 8) {
			t.Fatalf("received %q: %v; want %q", got, err, message)
		}
	}}
}

func toyPoller(t *testing.T, s *server) toyClient {
	c := s.poller(t)
	c.target = "/socket/longpoll?vsn=toy"
	c.open()
	var inbox []string
	return toyClient{send: func(message string) {
		t.Helper()
		if a := c.must("POST", message, nil); a.Status != 200 {
			t.Fatalf("POST of %q: %s", message, a.raw)
		}
	}, want: func(message string) {
		t.Helper()
		for len(inbox) == 0 {
			inbox = *c.must("GET", "", nil).Messages
		}
		if inbox[0] != message {
			t.Fatalf("received %q, want %q", inbox[0], message)
		}
		inbox = inbox[1:]
	}}
}

// TestRefusedDialects: a client is refused with 403 if the dialect does not speak its
// version or returns a serializer that cannot be numbered, and with 500 if it panics.
func TestRefusedDialects(t *testing.T) {
	dialect := func(o wire.Offer) (wire.Serializer, error) {
		switch o.Version {
		case "nothing":
			return nil, nil
		case "panic":
			panic("in a dialect")
		}
		return toyDialect(o)
	}
	quiet := zerolog.Nop() // the panic is meant
	s := serve(t, channels.Options{Loops: 1, Logger: &quiet}, channels.SocketOptions{Dialect: dialect}, channels.Handle("room:*",
		func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil }))
	for vsn, want := range map[string]int{"toy": 101, "2.0.0": 101, "toy2": 403, "nothing": 403, "panic": 500} {
		if got, _, _ := s.handshake(t, "/socket/websocket?vsn="+vsn, nil); got != want {
			t.Errorf("vsn %s: status %d, want %d", vsn, got, want)
		}
	}
}
