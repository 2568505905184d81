package hooks

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestRevoked: the connections of a user that were asked about before the user was revoked end, and so does one that the
// back end allows afterwards. Those that are asked about later stay.
func TestRevoked(t *testing.T) {
	var meanwhile atomic.Pointer[func()] // is called while the back end decides
	b := serveBackend(t, func(r Request) any {
		if f := meanwhile.Load(); f != nil {
			(*f)()
		}
		return object{"allow": true, "assigns": object{"user": r.Params["user"]}}
	})
	e := channelstest.Start(t, channels.Options{})
	var until atomic.Pointer[time.Time] // ann's connections that were asked about before this are revoked
	d, err := New(Options{Hooks: []Hook{b.hook(Connect)}, Revoked: func(user string, asked time.Time) bool {
		at := until.Load()
		return user == "ann" && at != nil && asked.Before(*at)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e.Socket("/socket", d.Protect(channels.SocketOptions{}, nil), channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil }))
	connect := func(user string) *channelstest.Client {
		t.Helper()
		c, err := channelstest.TryConnect(t, e, "/socket?user="+user, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	revoke := func() {
		now := time.Now()
		until.Store(&now)
	}

	ann, bob := connect("ann"), connect("bob")
	revoke()
	e.CloseIf(1008, "revoked", Revoked)
	ann.AssertClosed(1008)

	meanwhile.Store(ptr(revoke))
	connect("ann").AssertClosed(1008)
	meanwhile.Store(nil)

	connect("ann")
	bob.Close()
	waittest.For(t, "the last to stay", func() bool { return e.Stats().Sockets == 1 })
	if sockets := e.Sockets(0); len(sockets) != 1 || sockets[0].User != "ann" {
		t.Errorf("%+v", sockets)
	}
}

func ptr[T any](v T) *T { return &v }

// TestAuthToken: the back end that decides about a connection is shown what phoenix.js sends as authToken, unless the
// server itself takes it; others are not.
func TestAuthToken(t *testing.T) {
	offer := http.Header{"Sec-WebSocket-Protocol": {"phoenix, base64url.bearer.phx.c2VjcmV0"}} // of "secret"
	for name, c := range map[string]struct {
		taken bool
		want  string
	}{"shown": {false, "secret"}, "taken": {true, ""}} {
		t.Run(name, func(t *testing.T) {
			b := serveBackend(t, func(Request) any { return yes })
			a := start(t, func(_ *channels.Options, so *channels.SocketOptions) { so.AuthToken = c.taken }, b.hook(Connect, Join))
			a.connect(t, "?vsn=2.0.0", offer).Join("room:1", nil)
			if got := b.asked(Connect)[0].AuthToken; got != c.want {
				t.Errorf("connect: %q, want %q", got, c.want)
			}
			if got := b.asked(Join)[0].AuthToken; got != "" {
				t.Errorf("join: %q", got)
			}
		})
	}
}
