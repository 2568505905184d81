package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/instances/internal/typetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// server has one chat.
type server struct{ *typetest.Server }

func start(t *testing.T, store instances.Store, config string) *server {
	t.Helper()
	return &server{typetest.Start(t, chat.Type(), store, config)}
}

func (s *server) join(room string, params object) *channelstest.Channel {
	s.T.Helper()
	return s.Join("room:"+room, params)
}

// backlog returns the bodies that a client is told when it comes.
func backlog(t *testing.T, ch *channelstest.Channel) (list []string, complete bool) {
	t.Helper()
	var p struct {
		Messages []chat.Message
		Complete bool
	}
	if err := json.Unmarshal(ch.AssertPush("backlog", nil), &p); err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Messages {
		list = append(list, m.Body)
	}
	return list, p.Complete
}

func wantBacklog(t *testing.T, ch *channelstest.Channel, want ...string) {
	t.Helper()
	if list, _ := backlog(t, ch); strings.Join(list, "|") != strings.Join(want, "|") {
		t.Errorf("backlog of %s: %v, want %v", ch.Topic(), list, want)
	}
}

func TestChat(t *testing.T) {
	s := start(t, nil, "")
	ada := s.join("lobby", object{"user": "ada", "meta": object{"color": "red"}})
	ada.AssertPush("presence_state", object{"ada": object{}})
	wantBacklog(t, ada)
	bob := s.join("lobby", object{"user": "bob"})
	ada.AssertBroadcast("presence_diff", object{"joins": object{"bob": object{}}})

	bob.Push("typing", object{"typing": true}).AssertReply("ok", object{})
	ada.AssertBroadcast("typing", object{"user": "bob", "typing": true})
	bob.RefutePush("typing", nil)

	var said struct{ ID int64 }
	reply := bob.Push("new_msg", object{"body": "hello", "user": "not bob", "key": "k1"}).Reply()
	if err := json.Unmarshal(reply.Response, &said); err != nil || reply.Status != "ok" || said.ID == 0 {
		t.Fatalf("a message: %s %s, %v", reply.Status, reply.Response, err)
	}
	for _, ch := range []*channelstest.Channel{ada, bob} {
		ch.AssertBroadcast("new_msg", object{"id": said.ID, "user": "bob", "body": "hello", "key": "k1"})
	}
	bob.Push("new_msg", object{"body": "hello", "key": "k1"}).AssertReply("ok", object{"id": said.ID})
	ada.RefutePush("new_msg", nil)
	ada.Push("new_msg", object{"body": "hi"}).AssertReply("ok", nil)

	wantBacklog(t, s.join("lobby", object{"user": "eve"}), "hello", "hi")
	wantBacklog(t, s.join("lobby", object{"user": "eve", "since": said.ID}), "hi")
	wantBacklog(t, s.join("other", object{"user": "eve"}))
}

func TestRefusals(t *testing.T) {
	s := start(t, nil, `{"max_body":10,"max_rooms":1}`)
	client := channelstest.Connect(t, s.Endpoint, "/socket/"+typetest.ID)
	wantReason := func(reply channelstest.Reply, reason string) {
		t.Helper()
		var r struct{ Reason string }
		if json.Unmarshal(reply.Response, &r); reply.Status != "error" || !strings.HasPrefix(r.Reason, reason) {
			t.Errorf("%s %s, want %s", reply.Status, reply.Response, reason)
		}
	}
	for _, join := range []struct {
		room   string
		params object
		reason string
	}{
		{"a", nil, "user is missing"},
		{"", object{"user": "ada"}, "the room has no name"},
		{strings.Repeat("r", 129), object{"user": "ada"}, "the room's name is longer than 128"},
		{"a", object{"user": "ada", "meta": []int{}}, "meta is not a JSON object"},
		{"a", object{"user": "ada", "meta": object{"x": strings.Repeat("x", 1024)}}, "meta is longer than 1024"},
		{"a", object{"user": "ada", "since": "x"}, `invalid payload: "since"`},
	} {
		_, reply := client.TryJoin("room:"+join.room, join.params)
		wantReason(reply, join.reason)
	}
	room := client.Join("room:a", object{"user": "ada"})
	_, reply := channelstest.Connect(t, s.Endpoint, "/socket/"+typetest.ID).TryJoin("room:b", object{"user": "bob"})
	wantReason(reply, "too many rooms are in use: at most 1")
	for _, push := range []struct {
		event   string
		payload object
		reason  string
	}{
		{"new_msg", nil, "body is missing"},
		{"new_msg", object{"body": 1}, `invalid payload: "body"`},
		{"new_msg", object{"body": "eleven byte"}, "body is longer than 10 bytes"},
		{"new_msg", object{"body": "x", "key": strings.Repeat("k", 65)}, "key is longer than 64"},
		{"typing", nil, "typing is missing"},
		{"shout", object{}, `unknown event "shout"`},
	} {
		wantReason(room.Push(push.event, push.payload).Reply(), push.reason)
	}
	room.Push("new_msg", object{"body": "ten bytes!"}).AssertReply("ok", nil)
	room.Leave()
}

// TestBacklogSurvives a restart of the server, and of a restart that follows
// too closely for anything to be saved on time.
func TestBacklogSurvives(t *testing.T) {
	store := new(instances.Memory)
	s := start(t, store, "")
	ada := s.join("lobby", object{"user": "ada"})
	for i := range 3 {
		ada.Push("new_msg", object{"body": fmt.Sprint("m", i)}).AssertReply("ok", nil)
	}
	s.Stop()
	s = start(t, store, "")
	ada = s.join("lobby", object{"user": "ada"})
	wantBacklog(t, ada, "m0", "m1", "m2")
	ada.Push("new_msg", object{"body": "m3"}).AssertReply("ok", nil)
	s.Stop()
	wantBacklog(t, start(t, store, "").join("lobby", object{"user": "bob"}), "m0", "m1", "m2", "m3")
}

// TestSavedWithoutStop: after SaveAfter a message is in the store, whatever
// becomes of the process; rooms beyond the most lose theirs; those that nobody
// is in are loaded anew.
func TestSavedWithoutStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(instances.Memory)
		s := start(t, store, `{"max_rooms":2,"backlog_age":"20s"}`)
		keys := func() int {
			entries, err := store.List(t.Context(), "state."+typetest.ID+".room-")
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		for i, room := range []string{"a", "b", "c"} {
			ch := s.join(room, object{"user": "ada"})
			ch.Push("new_msg", object{"body": "in " + room}).AssertReply("ok", nil)
			ch.Leave()
			time.Sleep(chat.SaveAfter)
			synctest.Wait()
			if want := min(i+1, 2); keys() != want {
				t.Errorf("%d backlogs are saved after room %s, want %d", keys(), room, want)
			}
		}
		wantBacklog(t, s.join("a", object{"user": "bob"}))
		b := s.join("b", object{"user": "bob"})
		wantBacklog(t, b, "in b")
		time.Sleep(30 * time.Second)
		b.Push("new_msg", object{"body": "later"}).AssertReply("ok", nil)
		wantBacklog(t, s.join("b", object{"user": "eve"}), "later")
		time.Sleep(chat.SaveAfter)
		synctest.Wait()
		if keys() != 1 {
			t.Errorf("%d backlogs are saved, want that of b: the one of c is too old", keys())
		}
	})
}

// broken is a store that takes nothing while it is told so.
type broken struct {
	instances.Memory
	fails int // guarded by nothing: synctest's one goroutine at a time
}

func (b *broken) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.fails > 0 && strings.HasPrefix(key, "state.") {
		b.fails--
		return 0, errors.New("the disk is full")
	}
	return b.Memory.Put(ctx, key, value, revision)
}

func TestAStoreThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &broken{fails: 3}
		s := start(t, store, "")
		ch := s.join("a", object{"user": "ada"})
		ch.Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		ch.Leave()
		time.Sleep(10 * chat.SaveAfter)
		synctest.Wait()
		if entries, _ := store.List(t.Context(), "state."+typetest.ID+".room-"); len(entries) != 1 || store.fails != 0 {
			t.Errorf("%d backlogs are saved, %d failures left", len(entries), store.fails)
		}
		if i, err := s.Manager.Stats(typetest.ID); err != nil || i.Restarts != 0 {
			t.Errorf("the instance: %+v, %v", i, err)
		}
		wantBacklog(t, s.join("a", object{"user": "bob"}), "hello")
	})
}

func TestSignals(t *testing.T) {
	s := start(t, nil, "")
	ada := s.join("lobby", object{"user": "ada"})
	signal := func(name, data string) (string, error) {
		result, err := s.Manager.Signal(t.Context(), typetest.ID, name, json.RawMessage(data))
		return string(result), err
	}
	if _, err := signal("post", `{"room":"lobby","user":"bot","body":"beep"}`); err != nil {
		t.Fatal(err)
	}
	ada.AssertBroadcast("new_msg", object{"user": "bot", "body": "beep"})
	if result, err := signal("history", `{"room":"lobby"}`); err != nil || !strings.Contains(result, `"beep"`) {
		t.Errorf("history: %s, %v", result, err)
	}
	if _, err := signal("clear", `{"room":"lobby"}`); err != nil {
		t.Fatal(err)
	}
	ada.AssertBroadcast("cleared", object{})
	wantBacklog(t, s.join("lobby", object{"user": "bob"}))
	var wrong *instances.SignalError
	for name, data := range map[string]string{"shout": `{}`, "post": `{"room":"lobby"}`, "history": `{}`, "clear": `[]`} {
		if _, err := signal(name, data); !errors.As(err, &wrong) {
			t.Errorf("signal %s %s: %v", name, data, err)
		}
	}
}

func TestConfig(t *testing.T) {
	s := start(t, nil, "")
	for config, field := range map[string]string{
		`{"backlog":-1}`:        "/config/backlog",
		`{"backlog_age":"x"}`:   "/config/backlog_age",
		`{"max_body":1000000}`:  "/config/max_body",
		`{"rooms":1}`:           "/config/rooms",
		`{"backlog_bytes":1.5}`: "/config/backlog_bytes",
	} {
		var invalid fielderr.List
		_, _, err := s.Manager.Create(t.Context(), instances.Spec{Type: "chat", Config: json.RawMessage(config)})
		if !errors.As(err, &invalid) || invalid[0].Field != field {
			t.Errorf("%s: %v, want %s", config, err, field)
		}
	}
}
