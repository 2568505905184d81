package game

import (
	"encoding/json"
	"math/rand/v2"
)

// World is a kind of game that ticks.
type World struct {
	Name  string
	Seats int // how many can play at most
	Rate  int // ticks a second, unless the configuration says another
	// New makes the world of one instance; all luck comes from random.
	New func(seats int, random *rand.Rand) Ticking
}

// Ticking is a world under way. It has no clock and no lock: its methods are
// called one at a time.
type Ticking interface {
	// Enter and Leave bring a player in and take it out, from the next Tick on.
	Enter(seat int)
	Leave(seat int)
	// Input is what a player wants to do in the next Tick; a later one stands in
	// the place of an earlier one. The error is for the player, and names the field.
	Input(seat int, input json.RawMessage) error
	// Tick moves the world on and returns what has changed since the last: it and
	// the State before it add up to the State after it.
	Tick() (delta any)
	// State is all there is to see. It must not share memory with the world.
	State() any
}
