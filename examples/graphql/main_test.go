package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

type object = map[string]any

const (
	messages = `{ messages(room: "lobby") { id user body } }`
	post     = `mutation ($room: String!, $body: String!) { post(room: $room, user: "ada", body: $body) { id } }`
	posted   = `subscription ($room: String!) { posted(room: $room) { body } }`
)

func start(t *testing.T) (*channelstest.Endpoint, *chat) {
	e, c := channelstest.Start(t, channels.Options{}), newChat()
	e.Socket("/socket", channels.SocketOptions{}, absinthe(e.Endpoint, newSchema(c)))
	return e, c
}

// client is a client of Absinthe.
type client struct {
	*channelstest.Client
	control *channelstest.Channel
}

func connect(t *testing.T, e *channelstest.Endpoint) client {
	c := channelstest.Connect(t, e, "/socket")
	return client{c, c.Join("__absinthe__:control", nil)}
}

func (c client) doc(query string, variables object) *channelstest.Push {
	return c.control.Push("doc", object{"query": query, "variables": variables})
}

func (c client) post(room, body string) {
	c.doc(post, object{"room": room, "body": body}).AssertReply("ok", object{"data": object{}})
}

// subscribe returns the topic of the results.
func (c client) subscribe(t *testing.T, room string) *channelstest.Channel {
	t.Helper()
	reply := c.doc(posted, object{"room": room}).Reply()
	var s subscription
	if err := json.Unmarshal(reply.Response, &s); err != nil || reply.Status != "ok" || s.ID == "" {
		t.Fatalf("%s %s", reply.Status, reply.Response)
	}
	return c.Topic(s.ID)
}

func data(topic *channelstest.Channel, body string) object {
	return object{"subscriptionId": topic.Topic(), "result": object{"data": object{"posted": object{"body": body}}}}
}

func TestQueries(t *testing.T) {
	e, _ := start(t)
	ada := connect(t, e)
	ada.doc(messages, nil).AssertReply("ok", object{"data": object{"messages": []any{}}})
	ada.post("lobby", "one")
	ada.post("lobby", "two")
	ada.doc(messages, nil).AssertReply("ok", object{"data": object{"messages": []any{
		object{"id": "1", "user": "ada", "body": "one"}, object{"id": "2", "user": "ada", "body": "two"},
	}}})
	for _, test := range []struct{ query, status, message string }{
		{"{", "error", `syntax error: unexpected "", expecting Ident`},
		{"{ nothing }", "error", `Cannot query field "nothing" on type "Query".`},
		{"subscription { nothing }", "error", `Cannot query field "nothing" on type "Subscription".`},
		{`mutation { post(room: "", user: "ada", body: "x") { id } }`, "ok", "room has 0 bytes, want 1 to 1000"},
	} {
		reply := ada.doc(test.query, nil).Reply()
		var response struct{ Errors []struct{ Message string } }
		if err := json.Unmarshal(reply.Response, &response); err != nil || reply.Status != test.status ||
			len(response.Errors) == 0 || response.Errors[0].Message != test.message {
			t.Errorf("%s: %s %s, want %s %s", test.query, reply.Status, reply.Response, test.status, test.message)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	e, chat := start(t)
	ada, bob := connect(t, e), connect(t, e)
	first, his := ada.subscribe(t, "lobby"), bob.subscribe(t, "lobby")
	if first.Topic() != his.Topic() {
		t.Errorf("one document has two feeds, %s and %s", first.Topic(), his.Topic())
	}
	second := ada.subscribe(t, "lobby")
	if first.Topic() == second.Topic() {
		t.Errorf("two subscriptions of a client are both %s", first.Topic())
	}
	other := bob.subscribe(t, "other")
	bob.post("lobby", "one")
	for _, topic := range []*channelstest.Channel{first, second, his} {
		topic.AssertPush("subscription:data", data(topic, "one"))
	}
	ada.control.Push("unsubscribe", object{"subscriptionId": first.Topic()}).AssertReply("ok", object{"subscriptionId": first.Topic()})
	ada.control.Push("unsubscribe", object{"subscriptionId": first.Topic()}).AssertReply("ok", object{"subscriptionId": first.Topic()})
	bob.post("lobby", "two")
	second.AssertPush("subscription:data", data(second, "two"))
	his.AssertPush("subscription:data", data(his, "two"))
	first.RefutePush("subscription:data", nil)
	other.RefutePush("subscription:data", nil)

	ada.Close()
	bob.control.Leave()
	for deadline := time.Now().Add(channelstest.Timeout); ; time.Sleep(time.Millisecond) {
		chat.mu.Lock()
		n := len(chat.watchers)
		chat.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rooms are watched after everybody has left", n)
		}
	}
}

// TestReplyFirst checks that a client gets the reply to a subscription before its first
// result, however much is posted meanwhile.
func TestReplyFirst(t *testing.T) {
	e, chat := start(t)
	bob := connect(t, e)
	bob.subscribe(t, "lobby") // so that the feed runs when the others come
	var posting sync.WaitGroup
	stop := make(chan struct{})
	posting.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				if _, err := chat.Post(struct{ Room, User, Body string }{"lobby", "bob", fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 200 {
		ada := connect(t, e)
		push := ada.doc(posted, object{"room": "lobby"})
		if events := ada.Received(1); events[0] != "phx_reply" {
			t.Errorf("received %q: the reply is not the first", events)
		}
		push.AssertReply("ok", nil)
		ada.Close()
	}
	close(stop)
	posting.Wait()
}
