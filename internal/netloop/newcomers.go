package netloop

import "time"

// newcomers bounds how much of a loop's turn goes to newcomers.
type newcomers struct {
	owed  int    // newcomers with frames to be written
	turn  uint32 // the turn that the fields below belong to
	began time.Time
	asked uint // how often haveRoom was called
	over  bool // newcomers have had their time in this turn
}

// haveRoom reports whether another newcomer may be read in a turn: newcomers have not used up their time yet, and writes
// to other connections would not wait behind many answers to newcomers. It reads the clock only at every fourth call.
func (n *newcomers) haveRoom(turn uint32) bool {
	if n.owed >= promptChunk/2 {
		return false
	}
	if n.turn != turn || n.asked == 0 {
		n.turn, n.began, n.asked, n.over = turn, time.Now(), 0, false
	}
	n.asked++
	if !n.over && n.asked%4 == 0 {
		n.over = time.Since(n.began) > newcomerTime
	}
	return !n.over
}
