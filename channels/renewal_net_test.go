package channels_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// shelves is a channel that sends each client a large list when it has joined, with
// what tells one list from an older one.
type shelves struct {
	edition atomic.Int64
	made    atomic.Int64
}

// listDue is the message that makes a channel push its list.
type listDue struct{}

// list is what a client is sent; it is as large as a room's backlog.
type list struct {
	Edition int64  `json:"edition"`
	Text    string `json:"text"`
}

const listText = 128 << 10 // bytes of its text

func (l *shelves) channel() *channels.Channel {
	ch := channels.Handle("shelf:*", func(c *channels.Context, _ struct{}) (channels.NoReply, error) {
		return channels.NoReply{}, c.Send(listDue{})
	})
	channels.Info(ch, func(c *channels.Context, due listDue) error {
		l.made.Add(1)
		return c.PushFresh("list", list{l.edition.Load(), strings.Repeat("x", listText)}, due)
	})
	return ch
}

// narrow are limits that a few lists fill.
var narrow = channels.Limits{OutboundBytes: 1 << 20, SendBuffer: 128 << 10}

// TestPushFresh: a client that joins many channels at once is sent the list of each, however slowly it reads. Until
// it reads, hardly anything waits for it, and the lists that it gets then are new.
func TestPushFresh(t *testing.T) {
	const topics = 24
	bothSlow(t, func(t *testing.T, o channels.Options) {
		for _, kind := range []string{"version 2", "version 1", "TLS", "compression", "long polling"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				o, l := o, new(shelves)
				serverSide, clientSide := selfSigned(t)
				o.TLS, o.Limits = serverSide, narrow
				so := compressing
				so.LongPoll = longPolling
				s := serve(t, o, so, l.channel())
				var next func() envelope
				var send func(message string)
				if kind == "long polling" {
					c := s.polls(t)
					next, send = c.next, func(message string) { c.post(message) }
				} else {
					var p *peer
					switch kind {
					case "version 1":
						p = s.dialV1(t)
					case "TLS":
						p = dialTLS(t, s.addr, clientSide)
					case "compression":
						p = s.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering("permessage-deflate"))
					default:
						p = s.dial(t)
					}
					next = func() envelope {
						m, err := p.read()
						if err != nil {
							t.Fatal("a client that reads was cut off: ", err)
						}
						return m
					}
					send = func(message string) {
						if p.v1 {
							var v2 []json.RawMessage
							if err := json.Unmarshal([]byte(message), &v2); err != nil {
								t.Fatal(err)
							}
							message = fmt.Sprintf(`{"topic":%s,"event":%s,"ref":%s,"payload":%s}`, v2[2], v2[3], v2[1], v2[4])
						}
						if err := p.WriteText(message); err != nil {
							t.Fatal(err)
						}
					}
				}
				for i := range topics {
					send(fmt.Sprintf(`["%d","%d","shelf:%d","phx_join",{}]`, i, i, i))
				}
				waitFor(t, "all lists to be made", func() bool { return l.made.Load() >= topics })
				// Behind whatever the last of them has posted.
				waitFor(t, "lists to be put off", func() bool { return s.Stats().PutOff >= topics/2 || kind == "compression" })
				if n := s.Stats().MessagesOut; n > topics+20 && kind != "compression" {
					t.Errorf("%d messages wait for a client that does not read", n)
				}
				l.edition.Store(1)
				seen := make(map[string]int64)
				for len(seen) < topics {
					m := next()
					if m.event != "list" {
						continue
					}
					var got list
					if err := json.Unmarshal(m.payload, &got); err != nil || len(got.Text) != listText {
						t.Fatalf("a list of %d bytes, %v", len(got.Text), err)
					}
					if _, twice := seen[m.topic]; twice {
						t.Errorf("two lists of %s", m.topic)
					}
					seen[m.topic] = got.Edition
				}
				fresh := 0
				for _, edition := range seen {
					fresh += int(edition)
				}
				if fresh < topics/2 && kind != "compression" {
					t.Errorf("%d of %d lists are newer than the client's reading", fresh, topics)
				}
				if n := s.Stats().Network.ClosedSlow + s.Stats().LongPoll.Slow; n > 0 {
					t.Errorf("%d clients were cut off", n)
				}
			})
		}
	})
}

// TestPushFreshAfterEnds: a channel that ends while its list is being made, or fails
// to make one, holds up no other.
func TestPushFreshAfterEnds(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o channels.Options) {
		l := new(shelves)
		o.Limits = narrow
		bad := channels.Handle("bad:*", func(c *channels.Context, _ struct{}) (channels.NoReply, error) {
			return channels.NoReply{}, c.Send(listDue{})
		})
		var tries atomic.Int64
		channels.Info(bad, func(c *channels.Context, due listDue) error {
			if tries.Add(1)%4 > 0 || c.Subtopic() == "0" { // put off first
				return c.PushFresh("list", list{0, strings.Repeat("x", 400<<10)}, due)
			}
			switch c.Subtopic() {
			case "1":
				panic("no list")
			case "2":
				c.Stop(nil)
			}
			return nil // and pushes nothing
		})
		s := serve(t, o, channels.SocketOptions{}, l.channel(), bad)
		p := s.dial(t)
		const topics = 20
		for i := range topics {
			for _, name := range []string{"bad", "shelf"} {
				if err := p.WriteText(fmt.Sprintf(`["%s%d","1","%s:%d","phx_join",{}]`, name, i, name, i%4+i/4*10)); err != nil {
					t.Fatal(err)
				}
			}
			if i%3 == 0 {
				if err := p.WriteText(fmt.Sprintf(`["bad%d","2","bad:%d","phx_leave",{}]`, i, i%4+i/4*10)); err != nil {
					t.Fatal(err)
				}
			}
		}
		waitFor(t, "all lists to be made", func() bool { return l.made.Load() >= topics })
		seen := make(map[string]bool)
		for len(seen) < topics {
			m, err := p.read()
			if err != nil {
				t.Fatalf("%d of %d lists, then %v", len(seen), topics, err)
			}
			if m.event == "list" && strings.HasPrefix(m.topic, "shelf:") {
				seen[m.topic] = true
			}
		}
	})
}
