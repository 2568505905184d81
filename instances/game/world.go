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
	// New returns the world of one instance. All randomness comes from random.
	New func(seats int, random *rand.Rand) Ticking
}

// Ticking is a world in progress. Its methods are called one at a time.
type Ticking interface {
	// Enter and Leave add and remove a player, from the next Tick on.
	Enter(seat int)
	Leave(seat int)
	// Input sets what a player does in the next Tick; a later input replaces an
	// earlier one. The error is sent to the player and should name the field.
	Input(seat int, input json.RawMessage) error
	// Tick advances the world, and returns what has changed since the last
	// Tick.
	Tick() (delta any)
	// State returns the whole state that clients see. It must not share memory
	// with the world.
	State() any
}
