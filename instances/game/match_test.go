package game

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/channels"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// begun is a match of tic-tac-toe that ada and bob have just begun.
func begun(t testing.TB, clock, increment time.Duration) *match {
	t.Helper()
	m := newMatch(ticTacToe, 2, clock, increment)
	for i, user := range []string{"ada", "bob"} {
		if at, err := m.sit(-1, user, "token of "+user, noon); at != i || err != nil {
			t.Fatalf("%s sits at %d, %v", user, at, err)
		}
	}
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t testing.TB, err error, reason string) {
	t.Helper()
	if err == nil || err.Error() != reason {
		t.Errorf("%v, want %q", err, reason)
	}
}

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestClock(t *testing.T) {
	m := begun(t, 10*time.Second, 2*time.Second)
	must(t, m.move(0, moveJSON(ticTacToe, 0), at(3)))  // ada: 10-3+2 = 9
	must(t, m.move(1, moveJSON(ticTacToe, 1), at(10))) // bob: 10-7+2 = 5
	for i, want := range []time.Duration{8 * time.Second, 5 * time.Second} {
		if left := m.clockLeft(i, at(11), m.turnSeat()); left != want {
			t.Errorf("clock of seat %d: %v, want %v", i, left, want)
		}
	}
	if due := m.deadline(); !due.Equal(at(19)) {
		t.Errorf("ada's flag falls at %v", due)
	}
	if m.flag(at(18.9)) {
		t.Error("the flag fell too early")
	}
	wantRefusal(t, m.move(0, moveJSON(ticTacToe, 2), at(19)), "your clock has run out")
	if !m.flag(at(19)) || m.Status != over || *m.Result != (result{1, byFlag}) {
		t.Errorf("after the flag: %s, %+v", m.Status, m.Result)
	}
	if m.flag(at(30)) {
		t.Error("the flag fell twice")
	}
}

func TestAPauseIsNobodysTime(t *testing.T) {
	m := begun(t, 10*time.Second, 0)
	m.pause(at(4))
	data, err := m.encode()
	must(t, err)
	m, err = decodeMatch(data, ticTacToe, 2, 10*time.Second, 0)
	must(t, err)
	m.resume(at(1000))
	if left := m.clockLeft(0, at(1001), 0); left != 5*time.Second {
		t.Errorf("ada has %v left, want 5s", left)
	}
}

func TestSeats(t *testing.T) {
	m := newMatch(ticTacToe, 2, 0, 0)
	wantRefusal(t, m.move(0, moveJSON(ticTacToe, 0), noon), "the game has not begun: a seat is free")
	if n, err := m.sit(1, "bob", "b", noon); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	_, err := m.sit(1, "eve", "e", noon)
	wantRefusal(t, err, "seat 1 is taken")
	must(t, m.stand(1))
	if m.find("b") != -1 {
		t.Error("a token outlives its seat")
	}
	m = begun(t, 0, 0)
	if m.find("token of bob") != 1 || m.find("b") != -1 || m.find("") != -1 {
		t.Error("tokens are not told apart")
	}
	wantRefusal(t, m.stand(0), "the game has begun: resign first")
	_, err = m.sit(-1, "eve", "e", noon)
	wantRefusal(t, err, "the game has begun: its seats are taken")
}

func TestEnds(t *testing.T) {
	m := begun(t, 0, 0)
	wantRefusal(t, m.move(1, moveJSON(ticTacToe, 0), noon), "it is not your turn")
	wantRefusal(t, m.rematch(0, noon), "the game is not over")
	must(t, m.draw(0))
	wantRefusal(t, m.draw(0), "you have offered a draw already")
	must(t, m.move(0, moveJSON(ticTacToe, 0), noon))
	if m.Offer != 0 {
		t.Error("one's own move takes the offer back")
	}
	must(t, m.move(1, moveJSON(ticTacToe, 1), noon)) // which does not accept
	if m.Offer != -1 {
		t.Error("a move leaves the other's offer")
	}
	must(t, m.draw(1))
	must(t, m.draw(0))
	if m.Status != over || *m.Result != (result{-1, byDraw}) {
		t.Errorf("after the draw: %s, %+v", m.Status, m.Result)
	}
	wantRefusal(t, m.move(0, moveJSON(ticTacToe, 2), noon), "the game is over")
	wantRefusal(t, m.resign(0), "no game is in progress")
	must(t, m.rematch(0, noon))
	must(t, m.rematch(1, noon))
	if m.Status != playing || m.turnSeat() != 1 {
		t.Errorf("the rematch: %s, turn of %d; want bob to begin", m.Status, m.turnSeat())
	}
	must(t, m.resign(1))
	if *m.Result != (result{0, byResign}) {
		t.Errorf("after bob resigned: %+v", m.Result)
	}
}

// TestTheWinnerIsASeat: when the second player begins, the board's first is the
// table's second.
func TestTheWinnerIsASeat(t *testing.T) {
	m := begun(t, 0, 0)
	must(t, m.resign(0))
	must(t, m.rematch(0, noon))
	must(t, m.rematch(1, noon))
	for i, n := range []int{0, 3, 1, 4, 2} {
		must(t, m.move((i+1)%2, moveJSON(ticTacToe, n), noon))
	}
	if *m.Result != (result{1, byRules}) {
		t.Errorf("bob has three in a row: %+v", m.Result)
	}
}

// TestMatchSurvives: whatever is done, refusals change nothing, the version
// rises with each change, and what is saved is the same match.
func TestMatchSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := rapid.SampledFrom([]time.Duration{0, 5 * time.Second}).Draw(t, "clock")
		m, now := newMatch(connect4, 2, clock, time.Second), noon
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			before, version := encoded(t, m), m.Version
			err := step(t, m, now)
			if err != nil && encoded(t, m) != before {
				t.Fatalf("refused (%v), and changed:\n%s\n%s", err, before, encoded(t, m))
			}
			if err == nil && encoded(t, m) != before && m.Version <= version {
				t.Fatalf("changed, and version %d is still %d", m.Version, version)
			}
			again, err := decodeMatch([]byte(encoded(t, m)), connect4, 2, clock, time.Second)
			if err != nil || encoded(t, again) != encoded(t, m) {
				t.Fatalf("saved and loaded: %v\n%s\n%s", err, encoded(t, m), encoded(t, again))
			}
			m = again
			for i := range m.Seats {
				if m.Seats[i].Left < 0 {
					t.Fatalf("clock of %d: %v", i, m.Seats[i].Left)
				}
			}
			if _, err := m.view(now); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func encoded(t *rapid.T, m *match) string {
	data, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func step(t *rapid.T, m *match, now time.Time) error {
	seat := rapid.IntRange(0, 1).Draw(t, "seat")
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1:
		_, err := m.sit(seat, "ada", "t", now)
		return err
	case 2:
		return m.stand(seat)
	case 3:
		return m.resign(seat)
	case 4:
		return m.draw(seat)
	case 5:
		return m.rematch(seat, now)
	case 6:
		m.flag(now)
		return nil
	}
	column, _ := json.Marshal(map[string]int{"column": rapid.IntRange(0, 7).Draw(t, "column")})
	return m.move(seat, column, now)
}

// TestAGameKeepsItsClock: settings that change while a game is in progress, as they can while the
// instance is stopped, are for the next game.
func TestAGameKeepsItsClock(t *testing.T) {
	for _, c := range []struct{ before, after time.Duration }{{0, time.Minute}, {time.Minute, 0}, {time.Minute, 2 * time.Minute}} {
		m := begun(t, c.before, 0)
		data, err := m.encode()
		must(t, err)
		if m, err = decodeMatch(data, ticTacToe, 2, c.after, 0); err != nil {
			t.Fatal(err)
		}
		m.resume(at(10))
		if due := m.deadline(); due.IsZero() != (c.before == 0) || c.before > 0 && !due.Equal(at(10).Add(c.before)) {
			t.Errorf("%v to %v: the clock runs out at %v", c.before, c.after, due)
		}
		if m.flag(at(11)) {
			t.Errorf("%v to %v: a flag has fallen", c.before, c.after)
		}
		must(t, m.resign(0))
		must(t, m.rematch(0, at(20)))
		must(t, m.rematch(1, at(20)))
		if due := m.deadline(); due.IsZero() != (c.after == 0) || c.after > 0 && !due.Equal(at(20).Add(c.after)) {
			t.Errorf("%v to %v: in the next game the clock runs out at %v", c.before, c.after, due)
		}
	}
}

// TestRetrySend: an overload does not become an error of the clock's goroutine, which would crash
// the instance.
func TestRetrySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := []error{channels.ErrOverloaded, channels.ErrOverloaded, nil}
		err := retrySend(t.Context(), func() (err error) {
			err, errs = errs[0], errs[1:]
			return err
		})
		if err != nil || len(errs) > 0 {
			t.Errorf("%v, with %d to come", err, len(errs))
		}
		lost := errors.New("lost")
		if err := retrySend(t.Context(), func() error { return lost }); !errors.Is(err, lost) {
			t.Errorf("another error: %v", err)
		}
	})
}
