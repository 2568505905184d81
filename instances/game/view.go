package game

import (
	"encoding/json"
	"time"
)

// view is what clients see: the payload of state.
type view struct {
	Rules   string          `json:"rules"`
	Version int64           `json:"version"`
	Status  string          `json:"status"`
	Seats   []seatView      `json:"seats"`
	Turn    *int            `json:"turn"` // a seat, during a game
	Board   json.RawMessage `json:"board"`
	First   int             `json:"first"` // the seat that plays the board's seat 0
	Offer   *int            `json:"draw_offer"`
	Result  *result         `json:"result"`
}

type seatView struct {
	User    *string `json:"user"`     // null: free
	ClockMS *int64  `json:"clock_ms"` // null: no clock
	Rematch bool    `json:"rematch"`
}

// view returns the match at a moment.
func (m *match) view(now time.Time) (*view, error) {
	v := &view{
		Rules: m.rules.Name(), Version: m.Version, Status: m.Status, Seats: make([]seatView, len(m.Seats)),
		Board: json.RawMessage("null"), First: m.First, Result: m.Result,
	}
	turn := -1
	if m.Status == playing {
		turn = m.turnSeat()
		v.Turn = &turn
	}
	if m.Offer >= 0 {
		offer := m.Offer
		v.Offer = &offer
	}
	for i := range m.Seats {
		if user := m.Seats[i].User; user != "" {
			v.Seats[i] = seatView{User: &user, Rematch: m.Seats[i].Rematch}
		}
		left, clock := m.clock, m.clock
		if m.Status != waiting {
			left, clock = m.clockLeft(i, now, turn), m.Clock
		}
		if clock > 0 {
			ms := left.Milliseconds()
			v.Seats[i].ClockMS = &ms
		}
	}
	if m.Board == nil {
		return v, nil
	}
	board, err := m.Board.MarshalJSON()
	v.Board = board
	return v, err
}
