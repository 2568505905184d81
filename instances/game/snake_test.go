package game

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func place(s *snakes, seat int, going string, body ...cell) *serpent {
	p := &serpent{body: body, going: directions[going], wants: directions[going]}
	s.players[seat] = p
	return p
}

func field() *snakes {
	s := newSnakes(10, 8, rand.New(rand.NewPCG(1, 2)))
	s.food = cell{9, 7}
	return s
}

func TestSnakes(t *testing.T) {
	s := field()
	ada := place(s, 0, "right", cell{9, 1}, cell{8, 1})
	bob := place(s, 1, "down", cell{4, 7}, cell{4, 6})
	s.food = cell{4, 0}
	d := s.Tick().(snakesDelta)
	if ada.body[0] != (cell{0, 1}) || len(ada.body) != 2 {
		t.Errorf("ada left on the right and is at %v", ada.body)
	}
	if bob.body[0] != (cell{4, 0}) || len(bob.body) != 3 || bob.score != 1 || bob.best != 1 {
		t.Errorf("bob has eaten at the top: %+v", bob)
	}
	if d.Food == nil || *d.Food != s.food || s.food == (cell{4, 0}) {
		t.Errorf("the new food: %v, told %v", s.food, d.Food)
	}
	if err := s.Input(0, json.RawMessage(`{"go":"left"}`)); err != nil || ada.wants != directions["right"] {
		t.Errorf("ada turned into her neck: %v, %v", ada.wants, err)
	}
}

func TestSnakesDie(t *testing.T) {
	for name, test := range map[string]struct {
		ada, bob []cell
		died     string
	}{
		"head on head":       {[]cell{{3, 1}, {2, 1}}, []cell{{5, 1}, {6, 1}}, "[0 1]"},
		"into a body":        {[]cell{{3, 1}, {2, 1}}, []cell{{4, 2}, {4, 1}, {4, 0}}, "[0]"},
		"behind a tail":      {[]cell{{3, 1}, {2, 1}}, []cell{{4, 3}, {4, 2}, {4, 1}}, "[]"},
		"nowhere near":       {[]cell{{3, 1}, {2, 1}}, []cell{{7, 5}, {8, 5}}, "[]"},
		"through each other": {[]cell{{3, 1}, {2, 1}}, []cell{{4, 1}, {5, 1}}, "[0 1]"},
	} {
		s := field()
		going := "left"
		if test.bob[0][1] > test.bob[len(test.bob)-1][1] {
			going = "down"
		}
		place(s, 0, "right", test.ada...)
		place(s, 1, going, test.bob...)
		if d := s.Tick().(snakesDelta); fmt.Sprint(d.Died) != test.died {
			t.Errorf("%s: died %v, want %s", name, d.Died, test.died)
		}
	}
}

func TestSnakesInput(t *testing.T) {
	s := field()
	place(s, 0, "right", cell{1, 1}, cell{0, 1})
	for input, reason := range map[string]string{
		`{"go":"north"}`: `go is "north": it is up, down, left or right`,
		`{}`:             `go is "": it is up, down, left or right`,
		`{"go":1}`:       `an input is {"go": a direction}`,
		`{"go":"up"}`:    "<nil>",
	} {
		if err := s.Input(0, json.RawMessage(input)); fmt.Sprint(err) != reason {
			t.Errorf("%s: %v, want %s", input, err, reason)
		}
	}
}

// TestSnakesDeltas: for everybody who applies the deltas, the world is what it is.
func TestWhoLeavesOftenIsToldOnce(t *testing.T) {
	s := newSnakes(8, 6, rand.New(rand.NewPCG(1, 0)))
	for range 3 {
		s.Enter(2)
		s.Leave(2)
	}
	if left := s.Tick().(snakesDelta).Left; len(left) != 1 || left[0] != 2 {
		t.Errorf("left: %v", left)
	}
}

func TestSnakesDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSnakes(8, 6, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		seen := s.State().(snakesState)
		for range rapid.IntRange(1, 60).Draw(t, "ticks") {
			seat := rapid.IntRange(0, 3).Draw(t, "seat")
			_, plays := s.players[seat]
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case !plays:
				s.Enter(seat)
			case what == 0:
				s.Leave(seat)
			default:
				input := fmt.Sprintf(`{"go":%q}`, rapid.SampledFrom([]string{"up", "down", "left", "right"}).Draw(t, "go"))
				if err := s.Input(seat, json.RawMessage(input)); err != nil {
					t.Fatal(err)
				}
			}
			apply(&seen, s.Tick().(snakesDelta))
			want := s.State().(snakesState)
			for seat, view := range want.Snakes {
				if len(view.Body) == 0 {
					delete(want.Snakes, seat) // who rests is not seen
				}
			}
			if a, b := shown(t, seen), shown(t, want); a != b {
				t.Fatalf("by deltas %s\nin truth %s", a, b)
			}
		}
	})
}

// apply is what a client does with a delta.
func apply(seen *snakesState, d snakesDelta) {
	for _, seat := range append(d.Left, d.Died...) {
		delete(seen.Snakes, seat)
	}
	for seat, move := range d.Moved {
		view := seen.Snakes[seat]
		view.Body = append([]cell{move.Head}, view.Body...)
		view.Body = view.Body[:len(view.Body)-move.Tail]
		view.Score, view.Best = move.Score, max(view.Best, move.Score)
		seen.Snakes[seat] = view
	}
	for seat, view := range d.Born {
		seen.Snakes[seat] = view
	}
	if d.Food != nil {
		seen.Food = *d.Food
	}
}

func shown(t *rapid.T, s snakesState) string {
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
