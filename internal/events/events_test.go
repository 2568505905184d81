package events_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// TestTold checks the events of two clients: a back end is sent each once, and in order.
func TestTold(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			all, some := new(backend), new(backend)
			s := startServer(t, dir, hookOf(t, "all", all, nil, nil), hookOf(t, "some", some, []string{"left", "published"}, []string{"room:2"}))
			defer s.stop()
			settle := func() { time.Sleep(time.Second); synctest.Wait() }

			ada, bob := s.connect("ada"), s.connect("bob")
			settle()
			want(t, all.take(), "connected", "connected")
			room := ada.Join("room:1", nil)
			room.AssertPush("presence_state", nil)
			settle()
			want(t, all.take(), "occupied room:1", "joined room:1", "presence room:1 ada join")
			bob.Join("room:1", nil).AssertPush("presence_state", nil)
			bob.Join("room:2", nil).AssertPush("presence_state", nil)
			settle()
			want(t, all.take(), "joined room:1", "presence room:1 bob join", "occupied room:2", "joined room:2", "presence room:2 bob join")
			room.Push("msg", object{"text": "\"hi\" ü"}).AssertReply("ok", nil)
			if err := s.manager.Broadcast("r", "room:2", "news", []byte(`{"n":1}`)); err != nil {
				t.Fatal(err)
			}
			settle()
			got := all.take()
			want(t, got, `published room:1 msg {"text":"\"hi\" ü"}`, `published room:2 news {"n":1}`)
			if got[0].Client == "" || got[1].Client != "" || got[0].Time.IsZero() {
				t.Errorf("published by a client and by the program: %+v", got)
			}
			room.Leave()
			settle()
			got = all.take()
			slices.SortFunc(got, byType) // the presence ends on a goroutine
			want(t, got, "left room:1 left", "presence room:1 ada leave")
			time.Sleep(time.Minute)
			bob.Close()
			settle()
			got = all.take()
			slices.SortFunc(got, byType) // topics end in no order
			want(t, got, "disconnected lost", "left room:1 disconnected", "left room:2 disconnected",
				"presence room:1 bob leave", "presence room:2 bob leave", "vacated room:1", "vacated room:2")
			if d := got[0].Duration; d == nil || *d < 60_000 || *d > 70_000 {
				t.Errorf("the connection lasted %v ms", d)
			}
			want(t, some.take(), `published room:2 news {"n":1}`, "left room:2 disconnected")
			if stats := s.events.StatsOf("r"); len(stats.Hooks) != 2 || stats.Hooks[0].Delivered == 0 || stats.Hooks[0].Waiting != 0 || stats.Hooks[0].Lag != 0 {
				t.Errorf("stats: %+v", stats)
			}
		})
	}
}

func byType(a, b told) int { return strings.Compare(a.String(), b.String()) }

// TestAway: a back end that is away for five minutes is sent everything afterwards, once
// and in order.
func TestAway(t *testing.T) {
	for name, fault := range map[string]error{
		"an answer 500": &webhook.StatusError{Status: 500}, "no answer": errors.New("connection refused"), "a redirect": &webhook.StatusError{Status: 302},
		"a wrong key": &webhook.StatusError{Status: 401}, "too many": &webhook.StatusError{Status: 429, RetryAfter: 20 * time.Second},
		"a back end that hangs": context.DeadlineExceeded, "a connection that breaks": io.ErrUnexpectedEOF,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(backend)
			s := startServer(t, t.TempDir(), hookOf(t, "app", b, []string{"published"}, nil))
			defer s.stop()
			b.failWith(func([]told) error {
				if fault == context.DeadlineExceeded { //nolint:errorlint // it is this one
					time.Sleep(10 * time.Second) // as long as a hook waits
				}
				return fault
			})
			const messages = 1000
			var expected []string
			for i := range messages {
				if err := s.manager.Broadcast("r", fmt.Sprint("room:", i%7), "n", fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
					t.Fatal(err)
				}
				expected = append(expected, fmt.Sprintf(`published room:%d n {"n":%d}`, i%7, i))
				time.Sleep(300 * time.Millisecond)
			}
			if st := s.events.StatsOf("r").Hooks[0]; st.Waiting != messages || st.Lag < 4*time.Minute || st.LastError == "" {
				t.Errorf("%s: while it is away: %+v", name, st)
			}
			if n := b.tried(); n > 60 {
				t.Errorf("%s: tried %d times in five minutes", name, n)
			}
			b.failWith(nil)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			got := b.take()
			if !slices.Equal(texts(got), expected) {
				t.Errorf("%s: %d events, want %d in order", name, len(got), messages)
			}
			if st := s.events.StatsOf("r").Hooks[0]; st.Waiting != 0 || st.Lag != 0 || st.LastError != "" || st.Delivered != messages {
				t.Errorf("%s: afterwards: %+v", name, st)
			}
		})
	}
}

// TestBounds: an event that the back end does not take in time becomes a dead letter, and
// those after it are sent; events that all hooks have taken are kept for replays up to
// Options.Kept.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(backend)
		s := startBounded(t, events.Options{Dir: t.TempDir(), Limit: 16 << 20, MaxAge: 2 * time.Minute, Kept: -1}, hookOf(t, "app", b, []string{"published"}, nil))
		defer s.stop()
		broadcast := func(n int) {
			if err := s.manager.Broadcast("r", "room:1", "n", fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
				t.Fatal(err)
			}
		}
		b.failWith(func([]told) error { return errors.New("away") })
		broadcast(1)
		time.Sleep(time.Minute)
		broadcast(2)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if h := s.events.StatsOf("r").Hooks[0]; h.DeadLetters != 1 || h.Refused != 1 {
			t.Errorf("after two and a half minutes: %+v", h)
		}
		b.failWith(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, b.take(), `published room:1 n {"n":2}`)
		large := []byte(`{"text":"` + strings.Repeat("x", 500<<10) + `"}`)
		for range 8 { // some segments
			if err := s.manager.Broadcast("r", "room:1", "n", large); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 200 { // until another snapshot is saved
			broadcast(n)
		}
		time.Sleep(time.Minute)
		broadcast(201)
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := s.events.StatsOf("r"); st.Bytes > 2<<20 {
			t.Errorf("%d bytes are kept, want about a segment", st.Bytes)
		}
	})
}

// TestDeadLetters: what a back end refuses is found among a batch, kept, and can be sent
// again.
func TestDeadLetters(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			b := new(backend)
			s := startServer(t, dir, hookOf(t, "app", b, []string{"published"}, nil))
			defer s.stop()
			bad := func(list []told) error {
				for _, e := range list {
					if e.Event == "bad" {
						return &webhook.StatusError{Status: http.StatusUnprocessableEntity}
					}
				}
				return nil
			}
			b.failWith(bad)
			for i := range 100 {
				event := "good"
				if i%30 == 5 {
					event = "bad"
				}
				if err := s.manager.Broadcast("r", "room:1", event, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := b.take(); len(got) != 96 || !slices.IsSortedFunc(got, func(a, b told) int { return compareIDs(a.ID, b.ID) }) {
				t.Errorf("%d events were taken", len(got))
			}
			letters, err := s.events.DeadLetters("r", "app")
			if err != nil || len(letters) != 4 || !strings.Contains(letters[0].Error, "422") || !strings.Contains(string(letters[1].Event), `{"n":35}`) {
				t.Errorf("dead letters: %v, %v", letters, err)
			}
			if done, err := s.events.ReplayDead(t.Context(), "r", "app"); err != nil || done.Delivered != 0 || done.Refused != 4 {
				t.Errorf("replayed too early: %+v, %v", done, err)
			}
			b.failWith(nil)
			if done, err := s.events.ReplayDead(t.Context(), "r", "app"); err != nil || done.Delivered != 4 || done.Refused != 0 {
				t.Errorf("replayed: %+v, %v", done, err)
			}
			got := b.take()
			want(t, got, `published room:1 bad {"n":5}`, `published room:1 bad {"n":35}`, `published room:1 bad {"n":65}`, `published room:1 bad {"n":95}`)
			if letters, err := s.events.DeadLetters("r", "app"); err != nil || len(letters) != 0 {
				t.Errorf("left: %v, %v", letters, err)
			}
			if err := s.events.ReplayAfter(t.Context(), "r", "app", got[2].ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if again := b.take(); len(again) != 34 || again[0].ID != next(got[2].ID) {
				t.Errorf("%d events again", len(again))
			}
			epoch, _, _ := strings.Cut(got[2].ID, "-")
			if err := s.events.ReplayAfter(t.Context(), "r", "app", epoch+"-99999"); err == nil || !strings.Contains(err.Error(), "no event") {
				t.Errorf("replayed what has not happened: %v", err)
			}
			if took, err := s.events.TestHook(t.Context(), "r", "app"); err != nil || took != 0 {
				t.Errorf("test: %v, %v", took, err)
			}
			want(t, b.take(), "test")
			if _, err := s.events.TestHook(t.Context(), "r", "other"); !errors.Is(err, events.ErrNoHook) {
				t.Errorf("no such hook: %v", err)
			}
		})
	}
}

// split returns the epoch and number of an id.
func split(id string) (epoch string, n int) {
	i := strings.LastIndex(id, "-")
	fmt.Sscan(id[i+1:], &n)
	return id[:i], n
}

func compareIDs(a, b string) int {
	_, m := split(a)
	_, n := split(b)
	return m - n
}

func next(id string) string {
	epoch, n := split(id)
	return fmt.Sprintf("%s-%d", epoch, n+1)
}

// TestRestart: what a server has not sent when it stops is sent by the next one,
// including the ends of the connections.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := new(backend)
	synctest.Test(t, func(t *testing.T) {
		b.failWith(func([]told) error { return errors.New("away") })
		s := startServer(t, dir, hookOf(t, "app", b, []string{"joined", "left", "disconnected"}, nil))
		s.connect("ada").Join("room:1", nil)
		s.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		b.failWith(nil)
		s := startServer(t, dir, hookOf(t, "app", b, []string{"joined", "left", "disconnected"}, nil))
		time.Sleep(time.Second)
		want(t, b.take(), "joined room:1", "left room:1 disconnected", "disconnected shutdown")
		s.stop()
		want(t, b.take())
	})
}
