package channels_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestHandshakeWait: when more clients come than the machine can serve, those that have
// waited too long are told to come back; without the limit, none is.
func TestHandshakeWait(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{100 * time.Millisecond, 0} {
		const clients, inOneTurn = 40, 8
		gate, calls := make(chan struct{}), atomic.Int64{}
		s := serve(t, channels.Options{Loops: 1, Limits: channels.Limits{HandshakeWait: wait}}, channels.SocketOptions{
			ConnectOnLoop: true,
			Connect: func(context.Context, *channels.Socket, *channels.Request) error {
				if calls.Add(1) == 1 {
					<-gate // until everybody is there
				}
				time.Sleep(20 * time.Millisecond) // a turn takes longer than a tick of the loop
				return nil
			},
		}, room())
		head := wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", http.Header{"Cookie": {strings.Repeat("x", 4096)}})
		var all []*wstest.Client
		for range clients {
			c, err := wstest.Connect(s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Drop()
			if err := c.WriteRaw(head); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		close(gate)
		refused := 0
		for _, c := range all {
			err := c.ReadHandshake()
			var status *wstest.StatusError
			switch {
			case err == nil:
			case errors.As(err, &status) && status.Status == http.StatusServiceUnavailable && status.Header.Get("Retry-After") != "":
				refused++
			default:
				t.Fatal(err)
			}
		}
		if wait == 0 && refused > 0 || wait > 0 && (refused < inOneTurn || refused > clients-inOneTurn) {
			t.Errorf("HandshakeWait %s: %d of %d refused", wait, refused, clients)
		}
		if n := s.Stats().Refused; n != int64(refused) {
			t.Errorf("%d refused, %d counted", refused, n)
		}
		s.dial(t) // nobody waits any more
	}
}

// TestJoinedFirst: what a client that has joined sends does not wait behind the joins of
// all newcomers.
func TestJoinedFirst(t *testing.T) {
	t.Parallel()
	const newcomers, inOneTurn = 60, 8
	gate, inside := make(chan struct{}), make(chan struct{})
	var joins, before atomic.Int64
	ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		joins.Add(1)
		return channels.NoReply{}, nil
	})
	channels.On(ch, "hold", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		close(inside)
		<-gate
		return channels.NoReply{}, nil
	})
	channels.On(ch, "ask", func(*channels.Context, channels.Payload) (struct{}, error) {
		before.Store(joins.Load())
		return struct{}{}, nil
	})
	s := serve(t, channels.Options{Loops: 1, Limits: channels.Limits{HandshakeWait: time.Hour}}, channels.SocketOptions{}, ch.OnLoop())
	holder, member := s.dial(t), s.dial(t)
	held, asked := holder.join("room:1", "{}"), member.join("room:1", "{}")
	var arrived []*peer
	for range newcomers {
		arrived = append(arrived, s.dial(t))
	}
	holder.push(held, "room:1", "hold", "{}")
	<-inside
	for _, p := range arrived {
		p.push("1", "room:1", "phx_join", `{"x":"`+strings.Repeat("x", 1024)+`"}`)
	}
	member.push(asked, "room:1", "ask", "{}")
	close(gate)
	for _, p := range arrived {
		p.await("phx_reply")
	}
	member.await("phx_reply")
	if n, most := before.Load(), int64(2+2*inOneTurn); n > most {
		t.Errorf("answered after %d joins, want at most %d", n, most)
	}
}
