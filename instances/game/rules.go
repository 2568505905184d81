package game

import "encoding/json"

// Rules are those of a turn-based game: write your own and give them to [Type].
type Rules interface {
	// Name is what "rules" in a configuration says to mean them.
	Name() string
	// Seats are how many players there are, at least and at most.
	Seats() (least, most int)
	// New begins a game for so many players.
	New(seats int) Board
}

// Board is one game under way. It has no clock, no lock and no luck but what is
// in its JSON: what MarshalJSON writes, UnmarshalJSON makes again.
type Board interface {
	// Turn is the seat whose turn it is.
	Turn() int
	// Move makes the move of that seat, or refuses it and changes nothing. move
	// is the payload as the client sent it; the error is for the player, and
	// names the field.
	Move(move json.RawMessage) error
	// Over tells that nobody can move any more; winner is -1 for a draw.
	Over() (over bool, winner int)
	// MarshalJSON is what everybody is shown.
	MarshalJSON() ([]byte, error)
	UnmarshalJSON([]byte) error
}
