package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

func start(t *testing.T, o relay.Options) *channelstest.Endpoint {
	t.Helper()
	if o.Topics == nil {
		o.Topics = []string{"*"}
	}
	e := channelstest.Start(t, channels.Options{})
	r := relay.New(e.Endpoint, o)
	t.Cleanup(r.Close)
	e.Socket("/socket", channels.SocketOptions{Connect: r.Connect}, r.Channels()...)
	return e
}

func TestRelay(t *testing.T) {
	e := start(t, relay.Options{})
	ada := channelstest.Connect(t, e, "/socket").Join("any:topic", object{"user": "ada"})
	bob := channelstest.Connect(t, e, "/socket").Join("any:topic", object{"user": "bob", "self": false})

	ada.Push("new_msg", object{"body": "hello"}).AssertReply("ok", object{})
	ada.AssertBroadcast("new_msg", object{"body": "hello"})
	bob.AssertBroadcast("new_msg", object{"body": "hello"})
	bob.Push("anything", object{"n": 1}).AssertReply("ok", object{})
	ada.AssertBroadcast("anything", object{"n": 1})
	bob.RefutePush("anything", nil)
	bob.Push("bytes", channels.Binary{0, 1, 255}).AssertReply("ok", object{})
	ada.AssertBroadcast("bytes", channels.Binary{0, 1, 255})
}

func TestPresence(t *testing.T) {
	e := start(t, relay.Options{})
	ada := channelstest.Connect(t, e, "/socket").Join("room:1", object{"user": "ada", "meta": object{"color": "red"}})
	wantKeys(t, ada.AssertPush("presence_state", nil), "ada")
	bobsSocket := channelstest.Connect(t, e, "/socket?user=bob")
	bob := bobsSocket.Join("room:1", nil)
	wantKeys(t, bob.AssertPush("presence_state", nil), "ada", "bob")
	ada.AssertBroadcast("presence_diff", object{"joins": object{"bob": object{}}, "leaves": object{}})
	guest := channelstest.Connect(t, e, "/socket").Join("room:1", nil)
	if keys := keysOf(t, guest.AssertPush("presence_state", nil)); len(keys) != 3 || !strings.HasPrefix(keys[2], "guest-") {
		t.Errorf("present: %v, want ada, bob and a guest", keys)
	}
	bobsSocket.Close()
	ada.AssertBroadcast("presence_diff", object{"leaves": object{"bob": object{}}})
}

// Of two who join at the same time, on two loops, each comes to know of the
// other: from its list, or from a diff behind it.
func TestTwoAtOnce(t *testing.T) {
	const rounds = 2000
	e := channelstest.Start(t, channels.Options{Loops: 2, Limits: channels.Limits{MaxChannels: rounds}})
	r := relay.New(e.Endpoint, relay.Options{Topics: []string{"*"}})
	t.Cleanup(r.Close)
	e.Socket("/socket", channels.SocketOptions{}, r.Channels()...)
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	users := []string{"ada", "bob"}
	var clients []*wstest.Client
	for range users {
		c, err := wstest.Dial(addr.String(), "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Drop()
		c.Timeout = 30 * time.Second
		clients = append(clients, c)
	}
	for i := range rounds {
		topic := fmt.Sprintf("room:%d", i)
		for k, c := range clients {
			c.WriteText(fmt.Sprintf(`["1","1",%q,"phx_join",{"user":%q}]`, topic, users[k]))
		}
		for k, c := range clients {
			meet(t, c, topic, users[1-k])
		}
	}
}

// meet reads until c has been told that other is there.
func meet(t *testing.T, c *wstest.Client, topic, other string) {
	t.Helper()
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("%s was not heard of on %s: %v", other, topic, err)
		}
		var m [5]json.RawMessage
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if string(m[2]) == `"`+topic+`"` && strings.Contains(string(m[3]), "presence_") && strings.Contains(string(m[4]), `"`+other+`"`) {
			return
		}
	}
}

// TestListedIsSubscribed: whoever sees a newcomer in the list reaches it. Its loop is held up behind
// the join's callback, while another client answers to what it sees.
func TestListedIsSubscribed(t *testing.T) {
	e := channelstest.Start(t, channels.Options{Loops: 2})
	r := relay.New(e.Endpoint, relay.Options{Topics: []string{"*"}})
	t.Cleanup(r.Close)
	welcomed := make(chan struct{})
	late := func(next channels.Handler) channels.Handler {
		return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
			reply, err := next(c, p)
			if c.Event() == "phx_join" && bytes.Contains(p.Data, []byte("bob")) {
				select {
				case <-welcomed:
				case <-time.After(100 * time.Millisecond): // nobody has seen bob
				}
			}
			return reply, err
		}
	}
	served := r.Channels()
	for _, ch := range served {
		ch.Use(late)
	}
	e.Socket("/socket", channels.SocketOptions{}, served...)
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var clients []*wstest.Client
	for _, user := range []string{"ada", "bob"} {
		c, err := wstest.Dial(addr.String(), "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Drop()
		c.Timeout = 30 * time.Second
		clients = append(clients, c)
		c.WriteText(fmt.Sprintf(`["1","1","room:1","phx_join",{"user":%q}]`, user))
		meet(t, clients[0], "room:1", user)
	}
	ada, bob := clients[0], clients[1]
	ada.WriteText(`["1","2","room:1","welcome",{}]`)
	readUntil(t, ada, `"2","room:1","phx_reply"`)
	close(welcomed)
	bob.WriteText(`["1","2","room:1","thanks",{}]`)
	if came := readUntil(t, bob, `"room:1","thanks"`); !strings.Contains(came, `"room:1","welcome"`) {
		t.Errorf("bob was listed before he was subscribed; he got\n%s", came)
	}
}

// readUntil reads until a message that has a text, and returns all of them.
func readUntil(t *testing.T, c *wstest.Client, last string) string {
	t.Helper()
	var came []string
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("no %s: %v", last, err)
		}
		if came = append(came, string(text)); strings.Contains(string(text), last) {
			return strings.Join(came, "\n")
		}
	}
}

func wantKeys(t *testing.T, state json.RawMessage, want ...string) {
	t.Helper()
	if got := keysOf(t, state); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("present: %v, want %v", got, want)
	}
}

func keysOf(t *testing.T, state json.RawMessage) (keys []string) {
	t.Helper()
	var present map[string]struct{ Metas []object }
	if err := json.Unmarshal(state, &present); err != nil {
		t.Fatal(err)
	}
	for _, candidate := range []string{"ada", "bob"} {
		if p, ok := present[candidate]; ok {
			keys = append(keys, candidate)
			delete(present, candidate)
			if len(p.Metas) != 1 || p.Metas[0]["phx_ref"] == nil {
				t.Errorf("metas of %s: %v", candidate, p.Metas)
			}
		}
	}
	for key := range present {
		keys = append(keys, key)
	}
	return keys
}

func TestRefusals(t *testing.T) {
	e := start(t, relay.Options{Topics: []string{"room:*", "lobby", "phoenix*"}})
	client := channelstest.Connect(t, e, "/socket")
	joins := []struct {
		topic  string
		params any
		reason string
	}{
		{"other", nil, "unmatched topic"},
		{"phoenix:live_reload", nil, "unmatched topic"},
		{"lobby", object{"meta": 1}, "meta is not a JSON object"},
		{"lobby", object{"user": 7}, `invalid payload: "user" is a JSON number where a string belongs`},
		{"lobby", object{"user": strings.Repeat("x", 256)}, "user is longer than 255 bytes"},
		{"lobby", object{"user": "ada", "meta": object{"about": strings.Repeat("x", 4096)}}, "meta is longer than 4096 bytes"},
	}
	for _, join := range joins {
		if _, reply := client.TryJoin(join.topic, join.params); reply.Status != "error" || !strings.Contains(string(reply.Response), strings.ReplaceAll(join.reason, `"`, `\"`)) {
			t.Errorf("join %s %v: %s %s, want %s", join.topic, join.params, reply.Status, reply.Response, join.reason)
		}
	}
	lobby, other := client.Join("lobby", nil), channelstest.Connect(t, e, "/socket").Join("lobby", nil)
	for _, event := range []string{"phx_close", "phx_error", "phx_reply", "presence_diff", "presence_state", "chan_reply_3", "token_expiring"} {
		lobby.Push(event, object{}).AssertReply("error", nil)
	}
	lobby.Push("list", []int{1}).AssertReply("error", object{"reason": "the payload is not a JSON object"})
	other.RefutePush("phx_close", nil)
	other.RefutePush("chan_reply_3", nil)
	other.Push("still", object{"here": true}).AssertReply("ok", nil)
}

func TestPresenceSwitches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, relay.Options{Window: time.Second, PresenceOff: []string{"off:*"}, DiffsOff: []string{"quiet:*"}})
		join := func(topic, user string) *channelstest.Channel {
			return channelstest.Connect(t, e, "/socket").Join(topic, object{"user": user})
		}
		quiet := join("quiet:1", "ada")
		quiet.AssertPush("presence_state", nil)
		off := join("off:1", "ada")
		windowed := join("room:1", "ada")
		for _, topic := range []string{"quiet:1", "off:1", "room:1"} {
			join(topic, "bob")
			join(topic, "eve")
		}
		began := time.Now()
		windowed.AssertBroadcast("presence_diff", object{"joins": object{"ada": object{}, "bob": object{}, "eve": object{}}})
		if took := time.Since(began); took > time.Second {
			t.Errorf("the diff of a 1s window came after %v", took)
		}
		quiet.RefutePush("presence_diff", nil)
		off.RefutePush("presence_state", nil)
		off.RefutePush("presence_diff", nil)
	})
}

// TestAccessToken: a client's own token, which realtime-js pushes in setAuth
// without being asked, reaches nobody else, in whatever letters and form.
func TestAccessToken(t *testing.T) {
	e := start(t, relay.Options{Publish: []relay.Rule{{Topics: []string{"news:*"}, By: "nobody"}}})
	ada, bob := channelstest.Connect(t, e, "/socket"), channelstest.Connect(t, e, "/socket")
	for _, topic := range []string{"room:1", "news:1"} {
		from, to := ada.Join(topic, object{"access_token": "hush"}), bob.Join(topic, nil)
		for _, event := range []string{"access_token", "Access_Token", "ACCESS_TOKEN"} {
			from.Push(event, object{"access_token": "hush"}).AssertReply("ok", object{})
			from.Push(event, channels.Binary("hush")).AssertReply("ok", object{})
			from.RefutePush(event, nil)
			to.RefutePush(event, nil)
		}
	}
}

// TestNamesThatBreakClients: phoenix.js up to 1.7 throws on the names of the
// properties that every object has, wherever they come from.
func TestNamesThatBreakClients(t *testing.T) {
	e := start(t, relay.Options{PresenceOff: []string{"off:*"}})
	for _, name := range []string{
		"__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor",
		"hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
	} {
		client := channelstest.Connect(t, e, "/socket")
		_, reply := client.TryJoin("room:1", object{"user": name})
		if reply.Status != "error" || !strings.Contains(string(reply.Response), name) || !strings.Contains(string(reply.Response), "choose another name") {
			t.Errorf("%s: %s %s", name, reply.Status, reply.Response)
		}
		if _, reply := channelstest.Connect(t, e, "/socket?user="+name).TryJoin("room:1", nil); reply.Status != "error" {
			t.Errorf("%s in the connect params: %s", name, reply.Status)
		}
		client.Join("off:1", object{"user": name}) // nobody is told of it
	}
	wantKeys(t, channelstest.Connect(t, e, "/socket").Join("room:1", object{"user": "Constructor"}).AssertPush("presence_state", nil), "Constructor")
}
