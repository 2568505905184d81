package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

func TestAuth(t *testing.T) {
	key := auth.Key{Algorithm: "HS256", Secret: strings.Repeat("secret", 6)}
	verifier, err := auth.New(auth.Options{Keys: []auth.Key{key}, Join: []string{"room:lobby"}, Publish: []string{"room:*"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	e := channelstest.Start(t, channels.Options{})
	e.Socket("/socket", verifier.Protect(channels.SocketOptions{}), room())
	token, err := key.Sign(auth.Claims{"sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	ada := channelstest.Connect(t, e, "/socket?token="+token)
	lobby := ada.Join("room:lobby", nil)
	lobby.Push("new_msg", message{User: "not ada", Body: "hello"})
	lobby.AssertBroadcast("new_msg", message{User: "ada", Body: "hello"})
	if _, reply := ada.TryJoin("room:secret", nil); string(reply.Response) != `{"reason":"unauthorized"}` {
		t.Errorf("joined a room that the token does not allow: %s", reply.Response)
	}
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := serve(ctx, strings.Repeat("secret", 6), "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	if err := serve(ctx, "short", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "auth: /keys/0/secret has 5 bytes") {
		t.Errorf("a short secret: %v", err)
	}
}
