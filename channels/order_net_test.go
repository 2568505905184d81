package channels_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Order over TCP: many publishers, all at once, on two loops.

const (
	perPublisher    = 60
	binaryPublisher = 100 // its broadcasts reach version 2 alone
)

// said is a broadcast's place in the stream of its publisher.
type said struct {
	From int `json:"from"`
	N    int `json:"n"`
}

// publishing is a channel whose event "pub" broadcasts and then replies.
func publishing(pattern string) *channels.Channel {
	ch := channels.Handle(pattern, func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
	channels.On(ch, "pub", func(c *channels.Context, m said) (said, error) {
		if err := c.Push("before", m); err != nil {
			return m, err
		}
		return m, c.Broadcast("msg", m)
	})
	return ch
}

func TestOrder(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, publishing("order:*"), publishing("loop:*").OnLoop())
		for _, topic := range []string{"order:1", "loop:1"} {
			testOrder(t, s, topic)
		}
	})
}

func testOrder(t *testing.T, s *server, topic string) {
	var readers, publishers sync.WaitGroup
	var listeners []*listener
	for i := range 10 { // the first six publish too
		p := s.dial(t)
		if i%3 == 2 {
			p.Drop()
			p = s.dialV1(t)
		}
		l := &listener{peer: p, id: i, topic: topic, next: make(map[int]int), published: make(chan struct{})}
		l.joinRef = p.join(topic, "{}")
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		readers.Go(l.listen)
		if l.id < 6 {
			publishers.Go(l.publish)
			publishers.Go(func() { <-l.published })
		}
	}
	for i := range 3 {
		publishers.Go(func() {
			for n := range perPublisher {
				if err := s.Broadcast(topic, "msg", said{20 + i, n}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Go(func() {
		for n := range perPublisher {
			if err := s.Broadcast(topic, "bin", channels.Binary(binary.BigEndian.AppendUint32(nil, uint32(n)))); err != nil {
				t.Error(err)
			}
		}
	})
	quit := make(chan struct{})
	var visitors sync.WaitGroup
	for range 2 {
		p := s.dial(t)
		visitors.Go(func() { visit(t, p, topic, quit) })
	}
	publishers.Wait()
	close(quit)
	visitors.Wait()
	if err := s.Broadcast(topic, "end", struct{}{}); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
}

// listener checks what one client hears.
type listener struct {
	*peer
	id      int
	topic   string
	joinRef string

	published chan struct{} // closed when the last push is answered, or listen has failed

	// Owned by listen.
	next    map[int]int // by publisher, the number that must come
	pushed  int
	replied int
}

// publish sends in bursts of random length.
func (l *listener) publish() {
	r := rand.New(rand.NewPCG(uint64(l.id), 7))
	for n := 0; n < perPublisher; {
		var texts []string
		for range min(1+r.IntN(12), perPublisher-n) {
			texts = append(texts, l.text(l.joinRef, fmt.Sprintf("p%d", n), l.topic, "pub", fmt.Sprintf(`{"from":%d,"n":%d}`, l.id, n)))
			n++
		}
		if err := l.WriteRaw(frames(texts...)); err != nil {
			l.t.Error(err)
			return
		}
		time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
	}
}

func (l *listener) listen() {
	defer func() {
		if l.replied < perPublisher {
			close(l.published)
		}
	}()
	for {
		m, err := l.read()
		if err != nil {
			l.t.Errorf("client %d: %v", l.id, err)
			return
		}
		if m.event == "end" {
			break
		}
		if err := l.hear(m); err != nil {
			l.t.Errorf("client %d, v1 %v, %v: %v", l.id, l.v1, m, err)
			return
		}
	}
	want := map[int]int{20: perPublisher, 21: perPublisher, 22: perPublisher}
	for i := range 6 {
		want[i] = perPublisher
	}
	if !l.v1 {
		want[binaryPublisher] = perPublisher
	}
	for from, n := range want {
		if l.next[from] != n {
			l.t.Errorf("client %d: %d of %d messages from %d", l.id, l.next[from], n, from)
		}
	}
	if l.id < 6 && l.replied != perPublisher {
		l.t.Errorf("client %d: %d replies", l.id, l.replied)
	}
}

func (l *listener) hear(m envelope) error {
	var got said
	payload := m.payload
	if m.event == "phx_reply" {
		payload = m.response
	}
	if m.event == "bin" {
		got = said{binaryPublisher, int(binary.BigEndian.Uint32(m.binary))}
	} else if err := json.Unmarshal(payload, &got); err != nil {
		return err
	}
	switch m.event {
	case "before": // a push, then the broadcast, then the reply
		if got.N != l.pushed || got.N != l.next[l.id] {
			return fmt.Errorf("want push %d, before broadcast %d", l.pushed, l.next[l.id])
		}
		l.pushed++
	case "phx_reply":
		if got.N != l.replied || got.N != l.next[l.id]-1 {
			return fmt.Errorf("want reply %d, behind broadcast %d", l.replied, l.next[l.id]-1)
		}
		if l.replied++; l.replied == perPublisher {
			close(l.published)
		}
	default:
		if got.N != l.next[got.From] {
			return fmt.Errorf("want %d", l.next[got.From])
		}
		l.next[got.From]++
		if got.From == l.id && l.pushed != l.next[l.id] {
			return fmt.Errorf("the broadcast overtook the push")
		}
	}
	return nil
}

// visit joins and leaves: what it hears between the two has no gaps either.
func visit(t *testing.T, p *peer, topic string, quit chan struct{}) {
	for {
		select {
		case <-quit:
			return
		default:
		}
		ref, reply, err := p.tryJoin(topic, "{}")
		if err != nil || reply.status != "ok" {
			t.Errorf("visitor: %v, %v", reply, err)
			return
		}
		time.Sleep(2 * time.Millisecond)
		if _, err := p.send(ref, topic, "phx_leave", "{}"); err != nil {
			t.Errorf("visitor: %v", err)
			return
		}
		next := map[int]int{}
		for {
			m, err := p.read()
			if err != nil {
				t.Errorf("visitor: %v", err)
				return
			}
			if m.event == "phx_close" {
				break
			}
			var got said
			if m.event == "msg" && json.Unmarshal(m.payload, &got) == nil {
				if n, heard := next[got.From]; heard && got.N != n {
					t.Errorf("visitor: %v, want %d", m, n)
				}
				next[got.From] = got.N + 1
			}
		}
	}
}

// Bytes in every direction: event, reply, push, broadcast, to both versions.
func TestBinaryPayloads(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		ch := publishing("bin:*")
		channels.On(ch, "echo", func(_ *channels.Context, b channels.Binary) (channels.Binary, error) { return b, nil })
		channels.On(ch, "push", func(c *channels.Context, b channels.Binary) (channels.NoReply, error) {
			return channels.NoReply{}, c.Push("pushed", b)
		})
		channels.On(ch, "shout", func(c *channels.Context, b channels.Binary) (channels.NoReply, error) {
			return channels.NoReply{}, c.Broadcast("shouted", b)
		})
		channels.On(ch, "object", func(_ *channels.Context, b channels.Binary) (map[string]int, error) {
			return map[string]int{"size": len(b)}, nil
		})
		channels.On(ch, "want bytes", func(*channels.Context, text) (channels.Binary, error) { return channels.Binary("bytes"), nil })
		s := serve(t, o, channels.SocketOptions{}, ch)
		v2, other, v1 := s.dial(t), s.dial(t), s.dialV1(t)
		ref, v1Ref := v2.join("bin:1", "{}"), v1.join("bin:1", "{}")
		other.join("bin:1", "{}")
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 300_000} {
			data := bytes.Repeat([]byte{0, 255, '"', '\n'}, size/4+1)[:size]
			for _, event := range []string{"echo", "push", "shout", "object"} {
				if err := v2.WriteBinary(bytesPush(ref, "r", "bin:1", event, data)); err != nil {
					t.Fatal(err)
				}
				m, err := v2.read()
				want := envelope{joinRef: ref, ref: "r", topic: "bin:1", event: "phx_reply", binary: data, status: "ok"}
				switch event {
				case "push":
					want = envelope{joinRef: ref, topic: "bin:1", event: "pushed", binary: data}
				case "shout":
					want = envelope{topic: "bin:1", event: "shouted", binary: data}
					if got, err := other.read(); err != nil || !got.equal(want) {
						t.Errorf("%d bytes, the other client: %.80v, %v", size, got, err)
					}
				case "object":
					payload := fmt.Sprintf(`{"response":{"size":%d},"status":"ok"}`, size)
					want = envelope{joinRef: ref, ref: "r", topic: "bin:1", event: "phx_reply", payload: json.RawMessage(payload), status: "ok"}
				}
				if err != nil || !m.equal(want) {
					t.Errorf("%d bytes, %s: %.80v, %v; want %.80v", size, event, m, err, want)
				}
			}
		}
		// The version 1 client has got none of it and lives on.
		if err := s.Broadcast("bin:1", "mark", struct{}{}); err != nil {
			t.Fatal(err)
		}
		v1.assertNext("", "bin:1", "mark", "{}")
		v1.assertReply(v1Ref, "bin:1", "pub", `{"from":1,"n":1}`, "ok", `{"from":1,"n":1}`)
		// A reply of bytes cannot be sent to it: its channel ends, as in Phoenix,
		// and nothing else does.
		v1.push(v1Ref, "bin:1", "want bytes", "{}")
		if m := v1.await("phx_error"); m.ref != v1Ref {
			t.Errorf("bytes for version 1: %v", m)
		}
		v1Ref = v1.join("bin:1", "{}")
		v1.assertReply(v1Ref, "bin:1", "pub", `{"from":1,"n":2}`, "ok", `{"from":1,"n":2}`)
	})
}
