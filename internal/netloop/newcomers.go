package netloop

import "time"

// newcomers bounds how much of a loop's turn goes to newcomers.
type newcomers struct {
	owed  int    // of them have something to be written
	turn  uint32 // to which the rest belongs
	began time.Time
	asked uint // how often haveRoom was called
	over  bool // they have had their time
}

// haveRoom reports whether another newcomer may be read in a turn: they have not had their time yet, and what is written
// to others does not wait behind many answers to them. It looks at the clock now and then only.
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
