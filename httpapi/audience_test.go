package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// member is a guard that permits everything and knows its user.
type member string

func (member) Opened()                                          {}
func (member) Closed()                                          {}
func (member) Join(string) error                                { return nil }
func (member) Event(string, []byte) (channels.EventFunc, error) { return nil, nil }
func (m member) Client() string                                 { return string(m) }

// club is a type whose clients say who they are.
type club struct{ noteLogic }

func (club) Connect(_ context.Context, s *channels.Socket, r *channels.Request) error {
	s.SetGuard(member(r.Params.Get("user")))
	s.SetID("id:" + r.Params.Get("user"))
	return nil
}

// newClub returns a fixture with the instance "a" of a club, and the address of a client
// of it.
func newClub(t *testing.T, o Options) (f *fixture, connect func(user string) *channelstest.Client) {
	t.Helper()
	e := channelstest.Start(t, channels.Options{})
	f = fixtureOn(t, e.Endpoint, o)
	f.manager.Register(instances.Define("club", "A club.", func(in *instances.Instance, n note) (instances.Logic, error) {
		logic, err := f.newNote(in, n)
		return club{logic.(noteLogic)}, err
	}))
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"club"}`), 201)
	return f, func(user string) *channelstest.Client {
		return channelstest.Connect(t, e, "/socket/a?user="+user)
	}
}

func TestAudiences(t *testing.T) {
	f, connect := newClub(t, Options{})
	ada, bob := connect("ada"), connect("bob")
	adas, bobs := ada.Join("room:1", nil), bob.Join("room:1", nil)

	want(t, f.call("POST", "/api/instances/a/push", `{"user":"ada","topic":"room:1","event":"hi","payload":{"n":1}}`), 204)
	adas.AssertPush("hi", map[string]int{"n": 1})
	want(t, f.call("POST", "/api/instances/a/push", `{"socket_id":"id:ada","topic":"else","event":"hi"}`), 204)
	ada.Topic("else").AssertBroadcast("hi", map[string]int{})
	want(t, f.call("POST", "/api/instances/a/push", `{"user":"nobody","topic":"room:1","event":"hi"}`), 204)
	want(t, f.call("POST", "/api/instances/a/subscribe", `{"user":"bob","topic":"news"}`), 204)
	want(t, f.call("POST", "/api/instances/a/broadcast", `{"topic":"news","event":"item"}`), 204)
	bob.Topic("news").AssertBroadcast("item", map[string]int{})

	body := want(t, f.call("GET", "/api/instances/a/sockets?user=bob", ""), 200, `"id":"id:bob"`, `"user":"bob"`, `"topics":["room:1"]`, `"subscribed":["news"]`)
	var page Sockets
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Sockets) != 1 || page.Next != "" {
		t.Fatalf("bob's sockets: %s, %v", body, err)
	}
	want(t, f.call("POST", "/api/instances/a/unsubscribe", fmt.Sprintf(`{"socket":%q,"topic":"news"}`, page.Sockets[0].Socket)), 204)
	want(t, f.call("POST", "/api/instances/a/broadcast", `{"topic":"news","event":"item"}`), 204)
	bobs.Push("echo", nil) // crashes the channel: the answer is behind everything else
	bobs.AssertError()
	if got := bob.Received(0); len(got) != 0 {
		t.Errorf("bob received %q besides", got)
	}

	want(t, f.call("POST", "/api/instances/a/leave", `{"user":"ada","topic":"room:1"}`), 204)
	adas.AssertClose()
	want(t, f.call("POST", "/api/instances/a/disconnect", `{"user":"ada","reconnect":false}`), 204)
	ada.AssertClosed(1000)
	want(t, f.call("POST", "/api/instances/a/disconnect", `{"socket_id":"id:bob"}`), 204)
	bob.AssertClosed(1001)
	waittest.For(t, "the sockets to be gone", func() bool {
		return strings.Contains(want(t, f.call("GET", "/api/instances/a/users", ""), 200), `{"users":[]}`)
	})
}

func TestAudienceMistakes(t *testing.T) {
	f, _ := newClub(t, Options{})
	long := strings.Repeat("x", 1025)
	for _, path := range []string{"push", "leave", "subscribe", "unsubscribe", "disconnect"} {
		rest := map[string]string{"push": `,"topic":"t","event":"e"`, "disconnect": ""}
		more, ok := rest[path]
		if !ok {
			more = `,"topic":"t"`
		}
		at := "/api/instances/a/" + path
		want(t, f.call("POST", at, `{`+strings.TrimPrefix(more, ",")+`}`), 422, "/user or socket_id or socket is needed")
		want(t, f.call("POST", at, `{"user":"a","socket":"b"`+more+`}`), 422, "exclude each other")
		want(t, f.call("POST", at, `{"user":"`+long+`"`+more+`}`), 422, `"/user"`, "1024 bytes")
		want(t, f.call("POST", at, `{"usr":"a"`+more+`}`), 422, `did you mean \"user\"?`)
		want(t, f.call("POST", at, `{"user":7`+more+`}`), 422, `"/user"`, "must be a text")
		want(t, f.call("POST", "/api/instances/b/"+path, `{"user":"a"`+more+`}`), 404, "no instance")
		want(t, f.call("POST", at, `{"user":"a"`+more+`}`, "Idempotency-Key", strings.Repeat("k", 256)), 400, "255")
		if more != "" {
			want(t, f.call("POST", at, `{"user":"a","topic":"","event":"e"}`), 422)
		}
	}
	want(t, f.call("POST", "/api/instances/a/push", `{"user":"a","topic":"t","event":"phx_reply"}`), 422, `"/event"`)
	want(t, f.call("POST", "/api/instances/a/push", `{"user":"a","topic":"t","event":"e","payload":[1]}`), 422, `"/payload"`)
	want(t, f.call("GET", "/api/instances/a/sockets?user=a&socket=b", ""), 400, "exclude")
	want(t, f.call("GET", "/api/instances/a/users?limit=0", ""), 400, "1 to 1000")
}

// Pages of users and sockets together have everything once.
func TestConnectedPages(t *testing.T) {
	f, connect := newClub(t, Options{})
	for i := range 5 {
		connect(fmt.Sprintf("user-%d", i))
		connect(fmt.Sprintf("user-%d", i)).Join("room:1", nil)
	}
	users, sockets := "", 0
	for after := ""; ; {
		var page Users
		body := want(t, f.call("GET", "/api/instances/a/users?limit=2&after="+after, ""), 200)
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Users {
			users += fmt.Sprint(u)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if want := "{user-0 2 [room:1]}{user-1 2 [room:1]}{user-2 2 [room:1]}{user-3 2 [room:1]}{user-4 2 [room:1]}"; users != want {
		t.Errorf("the users are %s, want %s", users, want)
	}
	for after := ""; ; {
		var page Sockets
		body := want(t, f.call("GET", "/api/instances/a/sockets?limit=3&after="+after, ""), 200)
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		sockets += len(page.Sockets)
		if after = page.Next; after == "" {
			break
		}
	}
	if sockets != 10 {
		t.Errorf("%d sockets on all pages", sockets)
	}
}

// A message of a batch that is wrong does not keep the others from being sent.
func TestBatch(t *testing.T) {
	f, connect := newClub(t, Options{MaxBatch: 5})
	client := connect("ada")
	one, two := client.Join("room:1", nil), client.Join("room:2", nil)
	body := want(t, f.call("POST", "/api/instances/a/broadcasts", `{"messages":[
		{"topics":["room:1","room:2"],"event":"hi","payload":{"n":1}},
		{"topics":["room:1"],"event":"phx_close"},
		{"topics":"room:1","event":"hi"},
		{"topics":["room:2"],"event":"bye"}]}`, "Idempotency-Key", "1"), 200,
		`{"results":[{"sent":2},{"sent":0,"problem":{`, `"field":"/messages/1/event"`, `"field":"/messages/2/topics"`, `{"sent":1}]}`)
	one.AssertBroadcast("hi", map[string]int{"n": 1})
	two.AssertBroadcast("hi", map[string]int{"n": 1})
	two.AssertBroadcast("bye", map[string]int{})
	again := f.call("POST", "/api/instances/a/broadcasts", `{"messages":[
		{"topics":["room:1","room:2"],"event":"hi","payload":{"n":1}},
		{"topics":["room:1"],"event":"phx_close"},
		{"topics":"room:1","event":"hi"},
		{"topics":["room:2"],"event":"bye"}]}`, "Idempotency-Key", "1")
	if again.Header.Get("Idempotency-Replayed") != "true" || want(t, again, 200) != body {
		t.Error("the second request with a key is not answered as the first")
	}
	want(t, f.call("POST", "/api/instances/a/broadcasts", `{"messages":[{"topics":["room:1"],"event":"e","payload":7}]}`), 200, `"/messages/0/payload"`)
	for text, part := range map[string]string{
		`{}`:              "at least one message",
		`{"messages":[]}`: "at least one message",
		`{"messages":{}}`: "must be a list",
		`{"messages":[{"topics":["a","b","c","d","e","f"],"event":"e"}]}`: "at most 5",
		`{"messages":[1,2,3,4,5,6]}`:                                      "at most 5",
	} {
		want(t, f.call("POST", "/api/instances/a/broadcasts", text), 422, part)
	}
	want(t, f.call("POST", "/api/instances/b/broadcasts", `{"messages":[{"topics":["t"],"event":"e"}]}`), 404, "no instance")
	one.Push("x", nil)
	one.AssertError()
	if got := client.Received(0); len(got) != 0 {
		t.Errorf("received %q besides", got)
	}
}
