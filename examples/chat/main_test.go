package main

import (
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/presence"
)

func TestChat(t *testing.T) {
	recent, err := recentMessages()
	if err != nil {
		t.Fatal(err)
	}
	e := channelstest.Start(t, channels.Options{History: recent})
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
	eve := channelstest.Connect(t, e, "/socket").Join("room:lobby", message{User: "eve"})
	eve.AssertBroadcast("new_msg", message{User: "bob", Body: "hello"})
	bob.Leave()
	ada.AssertBroadcast("presence_diff", map[string]any{"leaves": map[string]any{"bob": map[string]any{}}})
}
