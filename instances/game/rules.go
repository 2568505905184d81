package game

import "encoding/json"

// Rules are the rules of a turn-based game. Implement them and give them to
// [Type].
type Rules interface {
	// Name is what "rules" in a configuration says to mean them.
	Name() string
	// Seats returns the smallest and largest number of players.
	Seats() (least, most int)
	// New returns a new game for a number of players.
	New(seats int) Board
}

// Board is one game in progress. Its whole state is in its JSON, from which
// UnmarshalJSON restores it; it has no clock, no lock and no randomness
// besides.
type Board interface {
	// Turn returns the seat whose turn it is.
	Turn() int
	// Move makes the move of that seat. If it returns an error, nothing has
	// changed; the error is sent to the player and should name the field. move
	// is the payload as the client sent it.
	Move(move json.RawMessage) error
	// Over reports whether the game is over, and the winning seat, or -1 for a
	// draw.
	Over() (over bool, winner int)
	// MarshalJSON returns the state that all clients see.
	MarshalJSON() ([]byte, error)
	UnmarshalJSON([]byte) error
}
