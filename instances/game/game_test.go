package game_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/game"
	"github.com/mycelium-rt/mycelium/instances/internal/typetest"
	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// server has one game.
type server struct{ *typetest.Server }

func start(t *testing.T, store instances.Store, config string) *server {
	t.Helper()
	return &server{typetest.Start(t, game.Type(), store, config)}
}

func (s *server) join(params object) *channelstest.Channel {
	s.T.Helper()
	return s.Join("game", params)
}

// sit joins, takes a seat and returns the token for it.
func (s *server) sit(user string) (ch *channelstest.Channel, token string) {
	s.T.Helper()
	ch = s.join(object{"user": user})
	var got struct{ Token string }
	if reply := ch.Push("sit", nil).Reply(); reply.Status != "ok" || json.Unmarshal(reply.Response, &got) != nil {
		s.T.Fatalf("%s sits: %s %s", user, reply.Status, reply.Response)
	}
	return ch, got.Token
}

func (s *server) state() (state string) {
	s.T.Helper()
	text, err := s.Manager.Signal(s.T.Context(), typetest.ID, "state", nil)
	if err != nil {
		s.T.Fatal(err)
	}
	return string(text)
}

func wantReason(t *testing.T, p *channelstest.Push, reason string) {
	t.Helper()
	p.AssertReply("error", object{"reason": reason})
}

// seat is one as state shows it.
func seat(user, clockMS any) object {
	return object{"user": user, "clock_ms": clockMS, "rematch": false}
}

func column(n int) object { return object{"column": n} }

func TestTable(t *testing.T) {
	s := start(t, nil, `{"rules":"connect4"}`)
	watcher := s.join(object{"user": "eve"})
	watcher.AssertPush("presence_state", object{"eve": object{}})
	watcher.AssertPush("state", object{"version": 0, "status": "waiting", "turn": nil, "board": nil})
	wantReason(t, watcher.Push("move", column(1)), "you have no seat: sit first")
	ada, token := s.sit("ada")
	wantReason(t, ada.Push("sit", nil), "you already have a seat")
	wantReason(t, watcher.Push("sit", object{"seat": 7}), "seat is 7: it is 0 to 1")
	wantReason(t, watcher.Push("sit", object{"seat": 0}), "seat 0 is taken")
	bob, _ := s.sit("bob")
	watcher.AssertBroadcast("state", object{"version": 2, "status": "playing", "turn": 0, "seats": []object{seat("ada", nil), seat("bob", nil)}})

	wantReason(t, bob.Push("move", column(1)), "it is not your turn")
	wantReason(t, ada.Push("move", nil), "column is missing: it is 0 to 6")
	ada.Push("move", column(3)).AssertReply("ok", object{"version": 3})
	for _, ch := range []*channelstest.Channel{ada, bob, watcher} {
		ch.AssertBroadcast("state", object{"version": 3, "turn": 1})
	}
	wantReason(t, watcher.Push("shout", nil), `unknown event "shout": this game takes sit, stand, move, resign, draw and rematch`)

	// Another device of ada's, by her token, under whatever name.
	again := s.join(object{"user": "mallory", "seat_token": token})
	again.AssertPush("state", object{"version": 3, "status": "playing", "turn": 1})
	bob.Push("move", column(3)).AssertReply("ok", nil)
	again.Push("move", column(2)).AssertReply("ok", object{"version": 5})
	s.join(object{"user": "ada", "seat_token": "guessed"}).Push("resign", nil).AssertReply("error", nil)

	if _, err := s.Manager.Signal(t.Context(), typetest.ID, "reset", nil); err != nil {
		t.Fatal(err)
	}
	watcher.AssertBroadcast("state", object{"version": 6, "status": "waiting"})
	wantReason(t, ada.Push("move", column(0)), "you have no seat: sit first")
	var wrong *instances.SignalError
	if _, err := s.Manager.Signal(t.Context(), typetest.ID, "boo", nil); !errors.As(err, &wrong) {
		t.Errorf("an unknown signal: %v", err)
	}
}

func TestAGameToItsEnd(t *testing.T) {
	s := start(t, nil, `{"rules":"tictactoe"}`)
	ada, _ := s.sit("ada")
	bob, _ := s.sit("bob")
	for i, n := range []int{0, 3, 1, 4, 2} {
		[]*channelstest.Channel{ada, bob}[i%2].Push("move", object{"cell": n}).AssertReply("ok", nil)
	}
	bob.AssertBroadcast("state", object{"status": "over", "turn": nil, "result": object{"winner": 0, "reason": "rules"}, "board": object{"line": []int{0, 1, 2}}})
	ada.Push("rematch", nil).AssertReply("ok", nil)
	bob.Push("rematch", nil).AssertReply("ok", nil)
	bob.AssertBroadcast("state", object{"status": "playing", "turn": 1, "first": 1})
	ada.Push("draw", nil).AssertReply("ok", nil)
	bob.AssertBroadcast("state", object{"draw_offer": 0})
	bob.Push("draw", nil).AssertReply("ok", nil)
	ada.AssertBroadcast("state", object{"status": "over", "result": object{"winner": -1, "reason": "draw"}})
	ada.Push("stand", nil).AssertReply("ok", nil)
	bob.AssertBroadcast("state", object{"seats": []object{seat(nil, nil), seat("bob", nil)}})
}

// TestNoTurnIsLost: a restart brings back the game, its seats and its clocks,
// whether the server has stopped or was killed.
func TestNoTurnIsLost(t *testing.T) {
	store := new(instances.Memory)
	s := start(t, store, `{"rules":"connect4","clock":"5m"}`)
	ada, token := s.sit("ada")
	s.sit("bob")
	ada.Push("move", column(3)).AssertReply("ok", nil)
	killed := new(instances.Memory) // what a killed server's store has
	entries, err := store.List(t.Context(), "")
	for _, e := range entries {
		_, err = killed.Put(t.Context(), e.Key, e.Value, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for name, left := range map[string]instances.Store{"stopped": store, "killed": killed} {
		s := start(t, left, `{"rules":"connect4","clock":"5m"}`)
		ada := s.join(object{"user": "ada", "seat_token": token})
		ada.AssertPush("state", object{"version": 3, "status": "playing", "turn": 1, "board": object{"moves": 1}})
		ada.Push("resign", nil).AssertReply("ok", nil)
		if !strings.Contains(s.state(), `"reason":"resign"`) {
			t.Errorf("%s: %s", name, s.state())
		}
		s.Stop()
	}
}

func TestAFlagFallsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil, `{"rules":"tictactoe","clock":"10s","increment":"1s"}`)
		ada, _ := s.sit("ada")
		bob, _ := s.sit("bob")
		time.Sleep(4 * time.Second)
		ada.Push("move", object{"cell": 0}).AssertReply("ok", nil)
		bob.AssertBroadcast("state", object{"turn": 1, "seats": []object{seat("ada", 7000), seat("bob", 10000)}})
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if strings.Contains(s.state(), "over") {
			t.Errorf("too early: %s", s.state())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		ada.AssertBroadcast("state", object{"status": "over", "result": object{"winner": 0, "reason": "flag"}, "seats": []object{seat("ada", 7000), seat("bob", 0)}})
	})
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

// TestWhatIsNotSavedHasNotHappened, and a flag that could not be saved falls
// when it can.
func TestWhatIsNotSavedHasNotHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(broken)
		var out logtest.Buffer
		logger := zerolog.New(&out)
		s := &server{typetest.StartWith(t, channels.Limits{}, instances.Options{Store: store, Logger: &logger}, game.Type(), `{"rules":"tictactoe","clock":"20s"}`)}
		ada, _ := s.sit("ada")
		s.sit("bob")
		before := s.state()
		store.fails.Store(true)
		wantReason(t, ada.Push("move", object{"cell": 0}), "the server could not save this: try again")
		if s.state() != before {
			t.Errorf("before %s\nafter %s", before, s.state())
		}
		if text := out.String(); !strings.Contains(text, "the disk is full") {
			t.Errorf("logged %s, want the error of the store", text)
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if strings.Contains(s.state(), "over") {
			t.Errorf("over, and not saved: %s", s.state())
		}
		store.fails.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ada.AssertBroadcast("state", object{"status": "over", "result": object{"winner": 1, "reason": "flag"}})
	})
}

func TestArena(t *testing.T) {
	s := start(t, nil, `{"rules":"snake","seats":2,"rate":50}`)
	watcher := s.join(object{"user": "eve"})
	var state struct {
		N     int64
		World struct{ Width int }
	}
	if err := json.Unmarshal(watcher.AssertPush("state", object{"seats": []any{nil, nil}}), &state); err != nil || state.World.Width == 0 {
		t.Fatalf("%+v, %v", state, err)
	}
	watcher.RefutePush("tick", nil) // nobody plays
	ada := s.join(object{"user": "ada"})
	ada.Push("sit", nil).AssertReply("ok", object{"seat": 0})
	watcher.AssertBroadcast("seats", object{"seats": []any{"ada", nil}})
	wantReason(t, ada.Push("sit", nil), "you already have a seat")
	watcher.AssertBroadcast("tick", object{"n": state.N + 1, "delta": object{"born": object{"0": object{"score": 0}}}})
	watcher.AssertBroadcast("tick", object{"n": state.N + 2, "delta": object{"moved": object{"0": object{"tail": 1}}}})

	wantReason(t, watcher.Push("input", object{"go": "up"}), "you have no seat: sit first")
	wantReason(t, ada.Push("input", object{"go": "north"}), `go is "north": it is up, down, left or right`)
	ada.Push("input", object{"go": "up"}).AssertReply("ok", nil)
	ada.Push("state", nil).AssertReply("ok", object{"rules": "snake", "rate": 50, "seats": []any{"ada", nil}})

	bobs := channelstest.Connect(t, s.Endpoint, "/socket/"+typetest.ID)
	bob := bobs.Join("game", object{"user": "bob"})
	bob.Push("sit", nil).AssertReply("ok", object{"seat": 1})
	wantReason(t, watcher.Push("sit", nil), "all 2 seats are taken")
	bobs.Close()
	watcher.AssertBroadcast("seats", object{"seats": []any{"ada", "bob"}})
	watcher.AssertBroadcast("seats", object{"seats": []any{"ada", nil}})
	ada.Push("stand", nil).AssertReply("ok", nil)
	wantReason(t, ada.Push("stand", nil), "you have no seat: sit first")
	if !strings.Contains(s.state(), `"seats":[null,null]`) {
		t.Errorf("all have gone: %s", s.state())
	}
}

// TestSittingAgainAndAgainCostsNothing: neither memory, nor is it told of more
// than once.
func TestSittingAgainAndAgainCostsNothing(t *testing.T) {
	s := start(t, nil, `{"rules":"snake","rate":1}`)
	ada := s.join(object{"user": "ada"})
	rounds := func(n int) int64 {
		for range n {
			ada.Push("sit", nil).AssertReply("ok", nil)
			ada.Push("stand", nil).AssertReply("ok", nil)
			ada.AssertBroadcast("seats", nil)
			ada.AssertBroadcast("seats", nil)
		}
		return int64(heaptest.Live())
	}
	before := rounds(100)
	if grown := rounds(5000) - before; grown > 512<<10 { // kept, a round would take more than 100 bytes
		t.Errorf("%d bytes more", grown)
	}
}

func TestConfig(t *testing.T) {
	s := start(t, nil, `{"rules":"tictactoe"}`)
	for config, want := range map[string]string{
		`{}`:                                    "/config/rules is missing: it is the game: tictactoe or connect4 or snake",
		`{"rules":"snake","seat":2}`:            "/config/seat is not a known field; did you mean \"seats\"?",
		`{"rules":"chess"}`:                     `/config/rules "chess" is not a known game: choose one of tictactoe, connect4, snake`,
		`{"rules":"connect4","seats":3}`:        "/config/seats is 3: connect4 is for 2 to 2",
		`{"rules":"connect4","clock":"10ms"}`:   "/config/clock must be at least 1s",
		`{"rules":"connect4","increment":"1s"}`: "/config/increment has no clock to add to",
		`{"rules":"snake","clock":"1m"}`:        "/config/clock is for turn-based games",
		`{"rules":"connect4","rate":10}`:        "/config/rate is for games that tick",
		`{"rules":"snake","seats":9}`:           "/config/seats is 9: snake is for 1 to 8",
	} {
		var invalid fielderr.List
		_, _, err := s.Manager.Create(t.Context(), instances.Spec{Type: "game", Config: json.RawMessage(config)})
		if !errors.As(err, &invalid) || !strings.HasPrefix(invalid[0].Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// TestConfigure: an instance stays the game that it is; clocks change between
// games.
func TestConfigure(t *testing.T) {
	s := start(t, nil, `{"rules":"tictactoe","clock":"1m"}`)
	change := func(config string) error {
		_, err := s.Manager.Update(t.Context(), typetest.ID, instances.AnyRevision, func(spec *instances.Spec) error {
			spec.Config = json.RawMessage(config)
			return nil
		})
		return err
	}
	for config, want := range map[string]string{
		`{"rules":"connect4"}`:                "/config/rules cannot be changed",
		`{"rules":"tictactoe","seats":3}`:     "/config/seats cannot be changed",
		`{"rules":"tictactoe","clock":"1ms"}`: "/config/clock must be at least 1s",
	} {
		var invalid fielderr.List
		if err := change(config); !errors.As(err, &invalid) || !strings.HasPrefix(invalid[0].Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
	ada, _ := s.sit("ada")
	if err := change(`{"rules":"tictactoe","clock":"2m"}`); err != nil {
		t.Fatal(err)
	}
	s.sit("bob")
	ada.AssertBroadcast("state", object{"version": 2, "status": "playing"})
	if !strings.Contains(s.state(), `"clock_ms":120000`) { // bob's, which does not run
		t.Errorf("the new clock: %s", s.state())
	}
	var invalid fielderr.List
	if err := change(`{"rules":"tictactoe","clock":"3m"}`); !errors.As(err, &invalid) {
		t.Errorf("a clock changed during a game: %v", err)
	}
	ada.Push("move", object{"cell": 0}).AssertReply("ok", nil) // nobody was disconnected
}
