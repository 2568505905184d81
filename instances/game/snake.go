package game

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// snake is the game: eat, grow, do not collide. The field has no walls: what
// leaves it on one side enters on the other.
var snake = &World{
	Name: "snake", Seats: 8, Rate: 8,
	New: func(_ int, random *rand.Rand) Ticking { return newSnakes(32, 24, random) },
}

const (
	snakeBegins = 4 // cells
	snakeRests  = 8 // ticks after its death until it starts again
)

// cell is a place on the field: x and y.
type cell [2]int

// directions are the values of an input.
var directions = map[string]cell{"up": {0, -1}, "down": {0, 1}, "left": {-1, 0}, "right": {1, 0}}

// serpent is the snake of one player.
type serpent struct {
	body  []cell // head first; empty while it rests
	grow  int    // cells still to come
	going cell
	wants cell
	rests int
	score int
	best  int
}

// snakes is the world.
type snakes struct {
	width, height int
	random        *rand.Rand
	players       map[int]*serpent
	food          cell
	left          []int // seats that have gone since the last tick
}

func newSnakes(width, height int, random *rand.Rand) *snakes {
	s := &snakes{width: width, height: height, random: random, players: make(map[int]*serpent)}
	s.food = s.free()
	return s
}

// Enter implements Ticking.
func (s *snakes) Enter(seat int) { s.players[seat] = &serpent{} }

// Leave implements Ticking.
func (s *snakes) Leave(seat int) {
	delete(s.players, seat)
	if !slices.Contains(s.left, seat) { // a seat that is left several times between two ticks is listed once
		s.left = append(s.left, seat)
	}
}

// Input implements Ticking. It ignores a turn back into the snake's own neck.
func (s *snakes) Input(seat int, input json.RawMessage) error {
	var in struct {
		Go string `json:"go"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return fmt.Errorf("an input is {\"go\": a direction}")
	}
	direction, ok := directions[in.Go]
	if !ok {
		return fmt.Errorf("go is %q: it is up, down, left or right", in.Go)
	}
	if p := s.players[seat]; direction != (cell{-p.going[0], -p.going[1]}) {
		p.wants = direction
	}
	return nil
}

// snakesDelta is the change of a tick.
type snakesDelta struct {
	Moved map[int]snakeMove `json:"moved,omitempty"` // by seat
	Born  map[int]snakeView `json:"born,omitempty"`
	Died  []int             `json:"died,omitempty"`
	Left  []int             `json:"left,omitempty"`
	Food  *cell             `json:"food,omitempty"` // its new place
}

// snakeMove is a step: the new head, and how many cells the tail has lost.
type snakeMove struct {
	Head  cell `json:"head"`
	Tail  int  `json:"tail"`
	Score int  `json:"score"`
}

type snakeView struct {
	Body  []cell `json:"body"`
	Score int    `json:"score"`
	Best  int    `json:"best"`
}

func (p *serpent) view() snakeView {
	return snakeView{append([]cell{}, p.body...), p.score, p.best} // [] in JSON, not null
}

// Tick implements Ticking: all snakes step at once, then those that have
// collided die, then those that have rested start again.
func (s *snakes) Tick() any {
	d := snakesDelta{Moved: make(map[int]snakeMove), Born: make(map[int]snakeView), Left: s.left}
	s.left = nil
	eaten := false
	for _, seat := range s.seats() {
		if p := s.players[seat]; len(p.body) > 0 {
			d.Moved[seat] = s.moveSerpent(p)
			eaten = eaten || p.body[0] == s.food
		}
	}
	for _, seat := range s.crashed() {
		s.players[seat].body, s.players[seat].rests, s.players[seat].score = nil, snakeRests, 0
		d.Died = append(d.Died, seat)
		delete(d.Moved, seat)
	}
	if eaten {
		s.food = s.free()
		food := s.food
		d.Food = &food
	}
	for _, seat := range s.seats() {
		switch p := s.players[seat]; {
		case len(p.body) > 0:
		case p.rests > 0:
			p.rests--
		case s.placeSerpent(p):
			d.Born[seat] = p.view()
		}
	}
	return d
}

func (s *snakes) seats() []int { return slices.Sorted(maps.Keys(s.players)) }

// moveSerpent moves a serpent one cell, and feeds it if there is food.
func (s *snakes) moveSerpent(p *serpent) snakeMove {
	p.going = p.wants
	head := s.wrap(cell{p.body[0][0] + p.going[0], p.body[0][1] + p.going[1]})
	p.body = slices.Insert(p.body, 0, head)
	if head == s.food {
		p.grow++
		p.score++
		p.best = max(p.best, p.score)
	}
	tail := 1
	if p.grow > 0 {
		p.grow, tail = p.grow-1, 0
	}
	p.body = p.body[:len(p.body)-tail]
	return snakeMove{head, tail, p.score}
}

func (s *snakes) wrap(c cell) cell {
	return cell{(c[0] + s.width) % s.width, (c[1] + s.height) % s.height}
}

// crashed returns the seats whose head is on a body or on another head.
func (s *snakes) crashed() (seats []int) {
	taken := make(map[cell]int)
	for _, p := range s.players {
		for _, c := range p.body {
			taken[c]++
		}
	}
	for _, seat := range s.seats() {
		if p := s.players[seat]; len(p.body) > 0 && taken[p.body[0]] > 1 {
			seats = append(seats, seat)
		}
	}
	return seats
}

// placeSerpent places a serpent where there is room for it, and reports whether
// it has.
func (s *snakes) placeSerpent(p *serpent) bool {
	for range 100 {
		head := s.free()
		body := make([]cell, snakeBegins)
		for i := range body {
			body[i] = s.wrap(cell{head[0] - i, head[1]})
		}
		if !slices.ContainsFunc(body, s.taken) {
			p.body, p.grow, p.going, p.wants = body, 0, directions["right"], directions["right"]
			return true
		}
	}
	return false // the field is full: another tick
}

func (s *snakes) taken(c cell) bool {
	for _, p := range s.players {
		if slices.Contains(p.body, c) {
			return true
		}
	}
	return false
}

// free returns a random cell; after a thousand tries it may not be free.
func (s *snakes) free() cell {
	c := cell{}
	for range 1000 {
		c = cell{s.random.IntN(s.width), s.random.IntN(s.height)}
		if !s.taken(c) && c != s.food {
			break
		}
	}
	return c
}

// snakesState is the whole state.
type snakesState struct {
	Width  int               `json:"width"`
	Height int               `json:"height"`
	Food   cell              `json:"food"`
	Snakes map[int]snakeView `json:"snakes"` // by seat
}

// State implements Ticking.
func (s *snakes) State() any {
	state := snakesState{s.width, s.height, s.food, make(map[int]snakeView)}
	for seat, p := range s.players {
		state.Snakes[seat] = p.view()
	}
	return state
}
