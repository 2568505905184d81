package collab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/collab"
	"github.com/mycelium-rt/mycelium/instances/internal/typetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// server has one document.
type server struct{ *typetest.Server }

func start(t *testing.T, store instances.Store, config string) *server {
	t.Helper()
	return &server{typetest.Start(t, collab.Type(), store, config)}
}

func (s *server) join(params object) *channelstest.Channel {
	s.T.Helper()
	return s.Join("doc", params)
}

func (s *server) wantDoc(rev int, doc any) {
	s.T.Helper()
	result, err := s.Manager.Signal(s.T.Context(), typetest.ID, "get", nil)
	want, _ := json.Marshal(doc)
	if err != nil || string(result) != fmt.Sprintf(`{"rev":%d,"ops":null,"doc":%s}`, rev, want) {
		s.T.Errorf("the document: %s, %v; want %s at %d", result, err, want, rev)
	}
}

func op(rev int, id string, parts ...any) object { return object{"rev": rev, "id": id, "op": parts} }

func TestDocument(t *testing.T) {
	s := start(t, nil, "")
	ada := s.join(object{"user": "ada"})
	ada.AssertPush("presence_state", object{"ada": object{}})
	ada.AssertPush("doc", object{"rev": 0, "doc": "", "ops": nil})
	bob := s.join(object{"user": "bob"})
	ada.Push("op", op(0, "a1", "hello")).AssertReply("ok", object{"rev": 1})
	bob.AssertBroadcast("op", object{"rev": 1, "user": "ada", "id": "a1", "op": []any{"hello"}})
	ada.AssertBroadcast("op", object{"rev": 1, "id": "a1"})
	ada.Push("op", op(1, "a2", 5, " world")).AssertReply("ok", object{"rev": 2})
	bob.Push("op", op(1, "b1", -1, "J", 4)).AssertReply("ok", object{"rev": 3})
	bob.Push("op", op(1, "b1", -1, "J", 4)).AssertReply("ok", object{"rev": 3}) // the answer was lost
	s.wantDoc(3, "Jello world")

	late := s.join(object{"user": "eve", "rev": 2})
	late.AssertPush("doc", object{"rev": 3, "ops": []object{{"rev": 3, "user": "bob", "id": "b1", "op": []any{-1, "J", 4}}}})
	late.Push("since", object{"rev": 3}).AssertReply("ok", object{"rev": 3, "ops": []any{}})
	s.join(object{"user": "kim"}).AssertPush("doc", object{"rev": 3, "doc": "Jello world"})

	for _, test := range []struct {
		event   string
		payload object
		reason  string
	}{
		{"op", object{}, "rev is missing"},
		{"op", object{"rev": 3}, "id is missing"},
		{"op", object{"rev": 3, "id": strings.Repeat("x", 65)}, "id is longer than 64 bytes"},
		{"op", object{"rev": 3, "id": "x"}, "op is missing"},
		{"op", object{"rev": 3, "id": "x", "op": nil}, "op is missing"},
		{"op", op(3, "x", strings.Repeat("x", 70000)), "op is longer than 65536 bytes"},
		{"op", op(3, "x", true), "op[0] is neither a text nor a number"},
		{"op", op(4, "x", "a"), "rev is 4: the document is at revision 3"},
		{"since", object{}, "rev is missing"},
		{"shout", object{}, `unknown event "shout"`},
	} {
		var r struct{ Reason string }
		reply := ada.Push(test.event, test.payload).Reply()
		if json.Unmarshal(reply.Response, &r); reply.Status != "error" || !strings.HasPrefix(r.Reason, test.reason) {
			t.Errorf("%s: %s %s, want %s", test.event, reply.Status, reply.Response, test.reason)
		}
	}
	s.wantDoc(3, "Jello world")
}

func TestRegisters(t *testing.T) {
	s := start(t, nil, `{"kind":"registers"}`)
	ada := s.join(object{"user": "ada"})
	ada.Push("op", object{"rev": 0, "id": "1", "op": object{"color": "red", "n": 1}}).AssertReply("ok", object{"rev": 1})
	ada.Push("op", object{"rev": 0, "id": "2", "op": object{"n": nil}}).AssertReply("ok", object{"rev": 2})
	s.wantDoc(2, object{"color": "red"})
}

func TestSignals(t *testing.T) {
	s := start(t, nil, "")
	ada := s.join(object{"user": "ada"})
	result, err := s.Manager.Signal(t.Context(), typetest.ID, "op", json.RawMessage(`{"user":"bot","rev":0,"id":"1","op":["hi"]}`))
	if err != nil || string(result) != `{"rev":1}` {
		t.Fatalf("%s, %v", result, err)
	}
	ada.AssertBroadcast("op", object{"rev": 1, "user": "bot"})
	var wrong *instances.SignalError
	for name, data := range map[string]string{"boo": "null", "op": `{"rev":0}`} {
		if _, err := s.Manager.Signal(t.Context(), typetest.ID, name, json.RawMessage(data)); !errors.As(err, &wrong) {
			t.Errorf("signal %s: %v", name, err)
		}
	}
	if _, err := s.Manager.Signal(t.Context(), typetest.ID, "op", json.RawMessage(`{"user":"bot","rev":9,"id":"1","op":["hi"]}`)); !errors.As(err, &wrong) {
		t.Errorf("an operation on a revision that is not: %v", err)
	}
}

// TestStopped: a document that is not durable survives a stop, and whatever
// comes SaveAfter the last operation.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(instances.Memory)
		s := start(t, store, "")
		ada := s.join(object{"user": "ada"})
		ada.Push("op", op(0, "1", "one")).AssertReply("ok", nil)
		time.Sleep(collab.SaveAfter)
		synctest.Wait()
		killed := copyOf(t, store)
		ada.Push("op", op(1, "2", 3, " two")).AssertReply("ok", nil)
		s.Stop()
		s = start(t, store, "")
		s.wantDoc(2, "one two")
		s.join(object{"user": "bob", "rev": 1}).AssertPush("doc", object{"rev": 2, "ops": []object{{"rev": 2, "user": "ada", "id": "2", "op": []any{3, " two"}}}})
		s.Stop()
		s = start(t, killed, "")
		s.wantDoc(1, "one")
	})
}

// copyOf is what a server that is killed now leaves behind.
func copyOf(t testing.TB, store instances.Store) instances.Store {
	t.Helper()
	entries, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	left := new(instances.Memory)
	for _, e := range entries {
		if _, err := left.Put(t.Context(), e.Key, e.Value, 0); err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// TestWhatIsAcknowledgedIsDurable: killed after any operation, through several
// rounds of the ring, a durable document comes back with all that was answered.
func TestWhatIsAcknowledgedIsDurable(t *testing.T) {
	store := new(instances.Memory)
	s := start(t, store, `{"durable":true}`)
	ada := s.join(object{"user": "ada"})
	text, left := "", make(map[int]instances.Store)
	for rev := range 200 {
		letter := string(rune('a' + rev%26))
		ada.Push("op", op(rev, fmt.Sprint(rev), letter)).AssertReply("ok", object{"rev": rev + 1})
		if text = letter + text; rev%21 == 0 || rev >= 62 && rev <= 66 || rev == 199 {
			left[rev+1] = copyOf(t, store)
		}
	}
	s.Stop()
	for rev, store := range left {
		s := start(t, store, `{"durable":true}`)
		s.wantDoc(rev, text[len(text)-rev:])
		s.join(object{"user": "ada"}).Push("op", op(rev, "next", "!")).AssertReply("ok", object{"rev": rev + 1})
		s.Stop()
		s = start(t, store, "") // and a document that is durable no more loses nothing either
		s.wantDoc(rev+1, "!"+text[len(text)-rev:])
		s.Stop()
	}
}

// broken is a store that takes no state while it is told so.
type broken struct {
	instances.Memory
	fails atomic.Bool
}

func (b *broken) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.fails.Load() && strings.HasPrefix(key, "state.") {
		return 0, errors.New("the disk is full")
	}
	return b.Memory.Put(ctx, key, value, revision)
}

func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(broken)
		s := start(t, store, `{"durable":true}`)
		ada := s.join(object{"user": "ada"})
		store.fails.Store(true)
		ada.Push("op", op(0, "1", "lost")).AssertReply("error", object{"reason": "the server could not save this: try again"})
		s.wantDoc(0, "")
		store.fails.Store(false)
		ada.Push("op", op(0, "1", "found")).AssertReply("ok", object{"rev": 1})
		s.Stop()

		s = start(t, store, "")
		store.fails.Store(true)
		s.join(object{"user": "ada"}).Push("op", op(1, "2", "I ")).AssertReply("ok", object{"rev": 2})
		time.Sleep(5 * collab.SaveAfter)
		store.fails.Store(false)
		time.Sleep(2 * collab.SaveAfter)
		synctest.Wait()
		start(t, copyOf(t, store), "").wantDoc(2, "I found")
	})
}

// TestManyAtOnce: operations of many clients come in one order to all.
func TestManyAtOnce(t *testing.T) {
	const clients, ops = 8, 20
	s := start(t, nil, "")
	watcher := s.join(object{"user": "eve"})
	var all sync.WaitGroup
	for i := range clients {
		ch := s.join(object{"user": fmt.Sprint("user ", i)})
		all.Go(func() {
			for n := range ops {
				if reply := ch.Push("op", op(0, fmt.Sprint(n), "x")).Reply(); reply.Status != "ok" {
					t.Errorf("%s %s", reply.Status, reply.Response)
				}
			}
		})
	}
	all.Wait()
	for rev := range clients * ops {
		watcher.AssertBroadcast("op", object{"rev": rev + 1})
	}
	s.wantDoc(clients*ops, strings.Repeat("x", clients*ops))
}

func TestConfig(t *testing.T) {
	s := start(t, nil, "")
	for config, field := range map[string]string{
		`{"kind":"sheet"}`: "/config/kind", `{"max_size":300000}`: "/config/max_size", `{"durable":"yes"}`: "/config/durable", `{"log":0}`: "/config/log",
	} {
		var invalid fielderr.List
		_, _, err := s.Manager.Create(t.Context(), instances.Spec{Type: "collab", Config: json.RawMessage(config)})
		if !errors.As(err, &invalid) || invalid[0].Field != field {
			t.Errorf("%s: %v, want %s", config, err, field)
		}
	}
}

func TestADocumentStaysOfItsKind(t *testing.T) {
	s := start(t, nil, "")
	var invalid fielderr.List
	_, err := s.Manager.Update(t.Context(), typetest.ID, instances.AnyRevision, func(spec *instances.Spec) error {
		spec.Config = json.RawMessage(`{"kind":"registers"}`)
		return nil
	})
	if !errors.As(err, &invalid) || invalid[0].Field != "/config/kind" {
		t.Errorf("a text became registers: %v", err)
	}
}
