package game

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func play(t testing.TB, g grid, moves ...int) Board {
	t.Helper()
	b := g.New(2)
	for _, n := range moves {
		if err := b.Move(moveJSON(g, n)); err != nil {
			t.Fatalf("move %d: %v", n, err)
		}
	}
	return b
}

func moveJSON(g grid, n int) json.RawMessage {
	field := "cell"
	if g.falls {
		field = "column"
	}
	return json.RawMessage(fmt.Sprintf(`{%q:%d}`, field, n))
}

func TestWins(t *testing.T) {
	for name, test := range map[string]struct {
		rules  grid
		moves  []int
		over   bool
		winner int
	}{
		"a row":          {ticTacToe, []int{0, 3, 1, 4, 2}, true, 0},
		"a column":       {ticTacToe, []int{0, 1, 3, 4, 8, 7}, true, 1},
		"a diagonal":     {ticTacToe, []int{0, 1, 4, 2, 8}, true, 0},
		"the other":      {ticTacToe, []int{2, 1, 4, 0, 6}, true, 0},
		"nobody yet":     {ticTacToe, []int{0, 1, 2}, false, -1},
		"a draw":         {ticTacToe, []int{0, 4, 8, 1, 7, 6, 2, 5, 3}, true, -1},
		"four in a row":  {connect4, []int{0, 0, 1, 1, 2, 2, 3}, true, 0},
		"four up":        {connect4, []int{0, 1, 0, 1, 0, 1, 2, 1}, true, 1},
		"rising":         {connect4, []int{0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3}, true, 0},
		"falling":        {connect4, []int{6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3}, true, 0},
		"not round edge": {connect4, []int{4, 0, 5, 0, 6, 1, 0}, false, -1},
		"three is few":   {connect4, []int{0, 0, 1, 1, 2, 2}, false, -1},
	} {
		over, winner := play(t, test.rules, test.moves...).Over()
		if over != test.over || winner != test.winner {
			t.Errorf("%s: over %v, winner %d", name, over, winner)
		}
	}
}

func TestMovesThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		rules  grid
		before []int
		move   string
		reason string
	}{
		{ticTacToe, nil, `{}`, "cell is missing: it is 0 to 8"},
		{ticTacToe, nil, `{"cell":9}`, "cell is 9: it is 0 to 8"},
		{ticTacToe, nil, `{"cell":"x"}`, `a move is {"cell": a whole number}`},
		{ticTacToe, []int{4}, `{"cell":4}`, "cell 4 is taken"},
		{connect4, nil, `{"cell":1}`, "column is missing: it is 0 to 6"},
		{connect4, nil, `{"column":-1}`, "column is -1: it is 0 to 6"},
		{connect4, nil, `[]`, `a move is {"column": a whole number}`},
		{connect4, []int{2, 2, 2, 2, 2, 2}, `{"column":2}`, "column 2 is full"},
	} {
		b := play(t, test.rules, test.before...)
		before, _ := json.Marshal(b)
		err := b.Move(json.RawMessage(test.move))
		if after, _ := json.Marshal(b); err == nil || err.Error() != test.reason || string(after) != string(before) {
			t.Errorf("%s %s: %v, want %s", test.rules.name, test.move, err, test.reason)
		}
	}
}

// TestBoardSurvives: at any moment of any game a board is what its JSON makes,
// and it ends when it must.
func TestBoardSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.SampledFrom([]grid{ticTacToe, connect4}).Draw(t, "rules")
		b := g.New(2)
		for moves := 0; ; {
			text, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			again := g.New(2)
			if err := json.Unmarshal(text, again); err != nil {
				t.Fatal(err)
			}
			if over, _ := again.Over(); over || moves == len(b.(*gridBoard).Cells) {
				if !over {
					t.Fatalf("a full board is not over: %s", text)
				}
				return
			}
			b = again
			turn := b.Turn()
			if b.Move(moveJSON(g, rapid.IntRange(0, 8).Draw(t, "move"))) != nil {
				if b.Turn() != turn {
					t.Fatal("a refused move took the turn")
				}
				continue
			}
			moves++
			if b.Turn() == turn {
				t.Fatal("a move did not pass the turn")
			}
		}
	})
}

func TestADamagedBoardIsAnError(t *testing.T) {
	for _, text := range []string{`{"columns":7}`, `{"columns":3,"rows":3,"cells":[1]}`, `{"cells":"x"}`} {
		if err := json.Unmarshal([]byte(text), ticTacToe.New(2)); err == nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
