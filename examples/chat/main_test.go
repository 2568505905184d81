package main

import (
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/presence"
)

func TestChat(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	who := presence.New(e, presence.Options{})
	defer who.Close()
	e.Socket("/socket", channels.SocketOptions{}, chat(who))

	_, reply := channelstest.Connect(t, e, "/socket").TryJoin("room:lobby", nil)
	if reply.Status != "error" {
		t.Errorf("joined without a name: %s", reply.Response)
	}
	ada := channelstest.Connect(t, e, "/socket").Join("room:lobby", message{User: "ada"})
	ada.AssertPush("presence_state", map[string]any{"ada": map[string]any{}})
	bob := channelstest.Connect(t, e, "/socket").Join("room:lobby", message{User: "bob"})
	ada.AssertBroadcast("presence_diff", map[string]any{"joins": map[string]any{"bob": map[string]any{}}})

	bob.Push("new_msg", message{User: "not bob", Body: "hello"})
	ada.AssertBroadcast("new_msg", message{User: "bob", Body: "hello"})
	bob.Push("new_msg", message{}).AssertReply("error", map[string]string{"reason": "a message needs a body"})
	bob.Leave()
	ada.AssertBroadcast("presence_diff", map[string]any{"leaves": map[string]any{"bob": map[string]any{}}})
}
