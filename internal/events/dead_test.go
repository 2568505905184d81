package events_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// TestReplayKilled: dead letters survive a crash while they are replayed.
func TestReplayKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := new(backend)
		s := refusingServer(t, dir, b, 3)
		var killed string
		b.failWith(func([]told) error {
			killed = crash(t, dir)
			return nil
		})
		if done, err := s.events.ReplayDead(t.Context(), "r", "app"); err != nil || done.Delivered != 3 {
			t.Fatalf("replayed %+v, %v", done, err)
		}
		s.stop()
		for at, most := range map[string]int{killed: 3, dir: 0} {
			next := startServer(t, at, hookOf(t, "app", b, []string{"published"}, nil))
			if letters, err := next.events.DeadLetters("r", "app"); err != nil || len(letters) != most {
				t.Errorf("%d dead letters after a start, %v; want %d", len(letters), err, most)
			}
			next.stop()
		}
	})
}

// TestDeadLettersAway: dead letters that cannot be sent stay, with those that are refused
// again, and those that were taken do not.
func TestDeadLettersAway(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			b := new(backend)
			s := refusingServer(t, dir, b, 4)
			defer s.stop()
			b.failWith(func(list []told) error {
				switch string(list[0].Payload) {
				case `{"n":0}`:
					return nil
				case `{"n":1}`:
					return &webhook.StatusError{Status: http.StatusBadRequest}
				}
				return &webhook.StatusError{Status: http.StatusBadGateway}
			})
			done, err := s.events.ReplayDead(t.Context(), "r", "app")
			if err == nil || done.Delivered != 1 || done.Refused != 1 {
				t.Errorf("replayed %+v, %v", done, err)
			}
			letters, err := s.events.DeadLetters("r", "app")
			if err != nil || len(letters) != 3 {
				t.Fatalf("dead letters: %v, %v", letters, err)
			}
			for i, status := range []string{"400", "422", "422"} {
				if !strings.Contains(letters[i].Error, status) {
					t.Errorf("dead letter %d: %s, want %s", i, letters[i].Error, status)
				}
			}
		})
	}
}

// TestDeadLettersObstructed: a hook whose dead letters cannot be stored tries again, and
// goes on when they can.
func TestDeadLettersObstructed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := new(backend)
		s := refusingServer(t, dir, b, 1)
		defer s.stop()
		old := filepath.Join(dir, "r", "app.dead.old")
		if err := os.MkdirAll(filepath.Join(old, "obstacle"), 0o700); err != nil {
			t.Fatal(err)
		}
		large := `{"x":"` + strings.Repeat("x", 900<<10) + `"}`
		for range 6 { // more than the newer file may have
			if err := s.manager.Broadcast("r", "room:1", "large", []byte(large)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if err := os.RemoveAll(old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if letters, err := s.events.DeadLetters("r", "app"); err != nil || len(letters) != 7 {
			t.Errorf("%d dead letters, %v; want 7", len(letters), err)
		}
	})
}

// refusingServer returns a server with n dead letters of the hook "app", whose payloads
// are {"n":0}, {"n":1}, ….
func refusingServer(t *testing.T, dir string, b *backend, n int) *server {
	b.failWith(func([]told) error { return &webhook.StatusError{Status: http.StatusUnprocessableEntity} })
	s := startServer(t, dir, hookOf(t, "app", b, []string{"published"}, nil))
	for i := range n {
		if err := s.manager.Broadcast("r", "room:1", "m", fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	if letters, err := s.events.DeadLetters("r", "app"); err != nil || len(letters) != n {
		t.Fatalf("dead letters: %v, %v", letters, err)
	}
	return s
}

// TestHooksClosed: hooks that are not used are closed.
func TestHooksClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t, "")
		closed := 0
		hook := hookOf(t, "app", new(backend), nil, nil)
		hook.Close = func() { closed++ }
		in, err := s.manager.Life("r")
		if err != nil {
			t.Fatal(err)
		}
		s.stop()
		s.hooks = []events.Hook{hook}
		if err := s.events.Begin(in, instances.Spec{ID: "r"}); err == nil || closed != 1 {
			t.Errorf("begun after Close: %v; closed %d times", err, closed)
		}
	})
}
