package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/history"
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
		if listed, err := store.Get(t.Context(), "state."+typetest.ID+".rooms"); err != nil || !strings.Contains(string(listed.Value), "room-") {
			t.Errorf("the list of rooms: %s, %v", listed.Value, err)
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

// TestSavedByFormerVersions: what a server saved whose rooms kept their messages
// themselves (testdata/saved.json, by name) is what clients get.
func TestSavedByFormerVersions(t *testing.T) {
	text, err := os.ReadFile("testdata/saved.json")
	if err != nil {
		t.Fatal(err)
	}
	var states map[string]string
	if err := json.Unmarshal(text, &states); err != nil {
		t.Fatal(err)
	}
	store, config := new(instances.Memory), `{"backlog":4,"backlog_age":"876000h"}`
	start(t, store, config).Stop()
	for name, state := range states {
		if _, err := store.Put(t.Context(), "state."+typetest.ID+"."+name, []byte(state), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it was saved by this version
		s := start(t, store, config)
		const third, last = 1795940302360492, 1795940302400036
		for since, want := range map[int64]string{0: "message 3|message 4|message 5|message 6 false", third - 1: "message 3|message 4|message 5|message 6 true", third: "message 4|message 5|message 6 true", last: " true"} {
			list, complete := backlog(t, s.join("lobby", object{"user": "ada", "since": since}))
			if got := fmt.Sprint(strings.Join(list, "|"), " ", complete); got != want {
				t.Errorf("since %d: %s, want %s", since, got, want)
			}
		}
		wantBacklog(t, s.join("Größe & <more>", object{"user": "ada"}), "„Grüße“ <b>& 👍</b>\n")
		if list, complete := backlog(t, s.join("empty", object{"user": "ada"})); len(list) > 0 || complete {
			t.Errorf("a room that was cleared: %v, %v", list, complete)
		}
		s.join("lobby", object{"user": "ada"}).Push("new_msg", object{"body": "message 6", "key": "k6"}).AssertReply("ok", object{"id": last})
		s.join("empty", object{"user": "ada"}).Push("new_msg", object{"body": "new"}).AssertReply("ok", nil)
		if _, err := s.Manager.Signal(t.Context(), typetest.ID, "clear", json.RawMessage(`{"room":"empty"}`)); err != nil {
			t.Fatal(err)
		}
		s.Stop()
	}
}

// recorded returns what is recorded of a room.
func (s *server) recorded(room string) []history.Message {
	s.T.Helper()
	sp, err := s.Manager.History(s.T.Context(), typetest.ID, "room:"+room)
	if err != nil {
		s.T.Fatal(err)
	}
	return sp.Page("room:"+room, history.Ask{}).Messages
}

// erase erases messages of a room, and wants there to have been n.
func (s *server) erase(room string, e instances.Erasure, n int) {
	s.T.Helper()
	if got, err := s.Manager.EraseHistory(s.T.Context(), typetest.ID, "room:"+room, e); got != n || err != nil {
		s.T.Errorf("erasing %+v: %d, %v; want %d", e, got, err, n)
	}
}

// bodiesOf returns the messages of a room in the history of the instance.
func (s *server) bodiesOf(room string) string {
	s.T.Helper()
	var list []string
	for _, m := range s.recorded(room) {
		var one chat.Message
		if err := json.Unmarshal(m.Payload, &one); err != nil {
			s.T.Error(err)
		}
		list = append(list, one.Body)
	}
	return strings.Join(list, " ")
}

// TestHistory: the messages of a room are in the history of the instance, in which they
// are read and deleted, also after a restart and if nobody is in the room. What was
// deleted is deleted in the store.
func TestHistory(t *testing.T) {
	store := new(instances.Memory)
	s := start(t, store, "")
	ada := s.join("lobby", object{"user": "ada"})
	for i := range 5 {
		ada.Push("new_msg", object{"body": fmt.Sprint("m", i)}).AssertReply("ok", nil)
		ada.Push("typing", object{"typing": true}).AssertReply("ok", nil)
	}
	const all = "m0 m1 m2 m3 m4"
	if got := s.bodiesOf("lobby"); got != all {
		t.Errorf("in the history: %s", got)
	}
	bob := s.join("lobby", object{"user": "bob", "history": object{"last": 2}})
	wantBacklog(t, bob, strings.Fields(all)...)
	bob.AssertPush("history_state", object{"recovered": true, "replayed": 2})
	bob.AssertBroadcast("new_msg", object{"body": "m3"})
	bob.AssertBroadcast("new_msg", object{"body": "m4"})
	bob.AssertPush("history_mark", nil)
	s.Stop()

	s = start(t, store, "")
	if got := s.bodiesOf("lobby"); got != all {
		t.Errorf("after a restart: %s", got)
	}
	s.erase("lobby", instances.Erasure{Message: s.recorded("lobby")[2].ID()}, 1)
	s.erase("lobby", instances.Erasure{Message: history.ID{Log: 1, Number: 1}}, 0)
	s.kill(store)
	s = start(t, store, "")
	wantBacklog(t, s.join("lobby", object{"user": "ada"}), "m0", "m1", "m3", "m4")
	if got := s.bodiesOf("lobby"); got != "m0 m1 m3 m4" {
		t.Errorf("after one was deleted: %s", got)
	}
	s.erase("lobby", instances.Erasure{Before: s.recorded("lobby")[0].Time}, 0)
	s.erase("lobby", instances.Erasure{}, 4)
	s.kill(store)
	s = start(t, store, "")
	wantBacklog(t, s.join("lobby", object{"user": "ada"}))
	if got := s.bodiesOf("lobby") + s.bodiesOf("nobody") + s.bodiesOf(""); got != "" {
		t.Errorf("after all were deleted: %s", got)
	}
}

// kill stops the server, but what it saves now does not reach the store.
func (s *server) kill(store *instances.Memory) {
	s.T.Helper()
	before, err := store.List(s.T.Context(), "state.")
	if err != nil {
		s.T.Fatal(err)
	}
	s.Stop()
	after, err := store.List(s.T.Context(), "state.")
	if err != nil {
		s.T.Fatal(err)
	}
	for _, e := range after {
		if err := store.Delete(s.T.Context(), e.Key, instances.AnyRevision); err != nil {
			s.T.Fatal(err)
		}
	}
	for _, e := range before {
		if _, err := store.Put(s.T.Context(), e.Key, e.Value, instances.AnyRevision); err != nil {
			s.T.Fatal(err)
		}
	}
}

// TestSpecWithHistory: the rules of a spec replace those of the configuration.
func TestSpecWithHistory(t *testing.T) {
	s := start(t, nil, `{"backlog":3}`)
	change := func(rules ...instances.HistoryRule) {
		t.Helper()
		_, err := s.Manager.Update(t.Context(), typetest.ID, instances.AnyRevision, func(spec *instances.Spec) error {
			spec.History = rules
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ada := s.join("lobby", object{"user": "ada"})
	say := func(bodies ...string) {
		t.Helper()
		for _, body := range bodies {
			ada.Push("new_msg", object{"body": body}).AssertReply("ok", nil)
		}
	}
	say("m0", "m1", "m2", "m3")
	wantBacklog(t, s.join("lobby", object{"user": "bob"}), "m1", "m2", "m3")
	change(instances.HistoryRule{Topics: []string{"room:*"}, Messages: 2})
	wantBacklog(t, s.join("lobby", object{"user": "bob"}), "m2", "m3")
	say("m4")
	wantBacklog(t, s.join("lobby", object{"user": "bob"}), "m3", "m4")
	change(instances.HistoryRule{Topics: []string{"other"}})
	wantBacklog(t, s.join("lobby", object{"user": "bob"}))
	say("m5")
	change()
	say("m6")
	wantBacklog(t, s.join("lobby", object{"user": "bob"}), "m6")
}

// TestMemoryIsShort: when messages are dropped from memory, clients still get what is saved,
// and nothing that is saved is lost.
func TestMemoryIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(instances.Memory)
		o := instances.Options{Store: store, History: history.NewStore(history.Options{Memory: 8 << 10})}
		defer o.History.Close()
		s := &server{typetest.StartWith(t, channels.Limits{}, o, chat.Type(), `{"backlog":10}`)}
		rooms := make([]*channelstest.Channel, 20)
		for i := range rooms {
			rooms[i] = s.join(fmt.Sprint(i), object{"user": "ada"})
		}
		var want []string
		for n := range 12 {
			body := fmt.Sprint(n, strings.Repeat(".", 100))
			want = append(want, body)
			for _, ch := range rooms {
				ch.Push("new_msg", object{"body": body}).AssertReply("ok", nil)
			}
			time.Sleep(2 * chat.SaveAfter)
			synctest.Wait()
		}
		if got := o.History.Stats(); got.Evicted == 0 {
			t.Fatalf("memory was not short: %+v", got)
		}
		for i := range rooms {
			wantBacklog(t, s.join(fmt.Sprint(i), object{"user": "bob"}), want[2:]...)
		}
		s.erase("3", instances.Erasure{}, 10)
		wantBacklog(t, s.join("3", object{"user": "bob"}))
		s.Stop()
		s = start(t, store, `{"backlog":10}`)
		for i := range rooms {
			if i != 3 {
				wantBacklog(t, s.join(fmt.Sprint(i), object{"user": "bob"}), want[2:]...)
			}
		}
		wantBacklog(t, s.join("3", object{"user": "bob"}))
	})
}

// TestARoomInUseOutlivesARestart: what decides whether a backlog is too old is its last message,
// not its first, also after a restart.
func TestARoomInUseOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, config := new(instances.Memory), `{"backlog_age":"1h"}`
		s := start(t, store, config)
		ada := s.join("a", object{"user": "ada"})
		for n := range 12 {
			ada.Push("new_msg", object{"body": fmt.Sprint("m", n)}).AssertReply("ok", nil)
			time.Sleep(10 * time.Minute)
		}
		s.Stop()
		s = start(t, store, config)
		s.join("b", object{"user": "bob"}).Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		time.Sleep(2 * chat.SaveAfter)
		synctest.Wait()
		wantBacklog(t, s.join("a", object{"user": "bob"}), "m7", "m8", "m9", "m10", "m11")
	})
}

// TestAClearedRoomStaysEmpty: the application is answered when nothing of the room is in the
// store.
func TestAClearedRoomStaysEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(instances.Memory)
		s := start(t, store, "")
		ada := s.join("a", object{"user": "ada"})
		ada.Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		time.Sleep(2 * chat.SaveAfter)
		synctest.Wait()
		if _, err := s.Manager.Signal(t.Context(), typetest.ID, "clear", json.RawMessage(`{"room":"a"}`)); err != nil {
			t.Fatal(err)
		}
		ada.AssertBroadcast("cleared", object{})
		s.kill(store)
		s = start(t, store, "")
		wantBacklog(t, s.join("a", object{"user": "ada"}))
	})
}

// TestAnErasureThatFails can be repeated: then the messages are gone from the store too.
func TestAnErasureThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(broken)
		s := start(t, store, "")
		s.join("a", object{"user": "ada"}).Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		time.Sleep(2 * chat.SaveAfter)
		synctest.Wait()
		store.fails = 1
		if n, err := s.Manager.EraseHistory(t.Context(), typetest.ID, "room:a", instances.Erasure{}); err == nil {
			t.Errorf("erased %d from a store that fails", n)
		}
		s.erase("a", instances.Erasure{}, 0)
		s.kill(&store.Memory)
		s = start(t, &store.Memory, "")
		wantBacklog(t, s.join("a", object{"user": "ada"}))
	})
}

// held is a store in which saving a room waits while the test holds it.
type held struct {
	instances.Memory
	holds   bool // guarded by nothing: synctest's one goroutine at a time
	waiting chan struct{}
	release chan struct{}
}

func (h *held) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if h.holds && strings.Contains(key, ".room-") {
		h.holds = false
		close(h.waiting)
		<-h.release
	}
	return h.Memory.Put(ctx, key, value, revision)
}

// TestAJoinDuringAnErasure: it does not bring back what is being erased.
func TestAJoinDuringAnErasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &held{waiting: make(chan struct{}), release: make(chan struct{})}
		s := start(t, store, "")
		ada := s.join("a", object{"user": "ada"})
		ada.Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		ada.Leave()
		time.Sleep(2 * chat.SaveAfter)
		synctest.Wait()
		store.holds = true
		erased := make(chan error)
		go func() {
			_, err := s.Manager.EraseHistory(t.Context(), typetest.ID, "room:a", instances.Erasure{})
			erased <- err
		}()
		<-store.waiting
		wantBacklog(t, s.join("a", object{"user": "bob"}))
		close(store.release)
		if err := <-erased; err != nil {
			t.Error(err)
		}
		if got := s.bodiesOf("a"); got != "" {
			t.Errorf("erased, and here: %s", got)
		}
	})
}

// disk is a history.Durable that takes its time, or fails.
type disk struct{ err error }

func (*disk) Open() {}

func (d *disk) Append(_, _ string, _ []byte, done func(error)) {
	time.AfterFunc(time.Second, func() { done(d.err) })
}

func (*disk) Trim(_, _ string, _ uint64) {}

func (*disk) Remove(_, _ string, which func() (number uint64, exactly bool)) error {
	which()
	return nil
}

// TestAPostThatIsStored: with a durable history the application is answered when its message is
// stored.
func TestAPostThatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(disk)
		o := instances.Options{History: history.NewStore(history.Options{})}
		o.History.Persist(d)
		defer o.History.Close()
		s := &server{typetest.StartWith(t, channels.Limits{}, o, chat.Type(), "")}
		_, err := s.Manager.Update(t.Context(), typetest.ID, instances.AnyRevision, func(spec *instances.Spec) error {
			spec.History = []instances.HistoryRule{{Durable: true}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		post := func() error {
			_, err := s.Manager.Signal(t.Context(), typetest.ID, "post", json.RawMessage(`{"room":"a","user":"bot","body":"beep"}`))
			return err
		}
		if err := post(); err != nil || time.Since(begun) < time.Second {
			t.Errorf("answered after %v, %v", time.Since(begun), err)
		}
		d.err = errors.New("the disk is full")
		if err := post(); !errors.Is(err, channels.ErrNotStored) {
			t.Errorf("not stored: %v", err)
		}
		s.Stop()
	})
}
