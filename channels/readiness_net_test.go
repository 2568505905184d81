package channels_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestReady(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		guest := h.invite(t, "a", channels.Options{Limits: channels.Limits{MaxConnections: 1}}, channels.SocketOptions{}, relayAll())
		is := func(e *channels.Endpoint, want error) {
			t.Helper()
			if err := e.Ready(); !errors.Is(err, want) {
				t.Errorf("ready: %v, want %v", err, want)
			}
		}
		is(h.Endpoint, nil)
		is(guest, nil)
		client := h.dialTarget(t, "/socket/a/websocket?vsn=2.0.0", nil)
		client.join("room:1", "{}")
		is(guest, channels.ErrFull)
		is(h.Endpoint, nil)
		client.Drop() // else the end waits for its Close frame
		if err := guest.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		is(guest, channels.ErrDraining)
		second := h.invite(t, "b", channels.Options{}, channels.SocketOptions{}, relayAll())
		if err := h.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		is(h.Endpoint, channels.ErrDraining)
		is(second, channels.ErrDraining)
	})
}

// Each refused handshake is counted once, under its reason.
func TestHandshakeStats(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{
			Subprotocols: []string{"known"},
			Connect: func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
				switch r.Params.Get("be") {
				case "denied":
					return errors.New("no")
				case "away":
					return &channels.RefusedError{Status: http.StatusServiceUnavailable}
				case "crashed":
					panic("crashed")
				}
				return nil
			},
		}, room())
		for _, c := range []struct {
			target string
			header http.Header
		}{
			{target: "?vsn=9.0.0"},
			{target: "?be=denied"}, {target: "?be=away"},
			{target: "?be=crashed"},
			{target: "?a=%ff"},
			{header: http.Header{"Origin": {"https://other.example"}}},
			{header: http.Header{"Sec-Websocket-Protocol": {"unknown"}}},
		} {
			if client, err := wstest.Dial(s.addr, "/socket/websocket"+c.target, c.header); err == nil {
				client.Drop()
				t.Errorf("%+v was admitted", c)
			}
		}
		s.dial(t).join("room:1", "{}")
		want := channels.HandshakeStats{Malformed: 1, Origin: 1, Protocol: 1, Version: 1, Denied: 2, Crashed: 1}
		if got := s.Stats().Handshakes; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
