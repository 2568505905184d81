package game

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"
)

// The statuses of a match.
const (
	waiting = "waiting" // for players
	playing = "playing"
	over    = "over"
)

// The reasons why a match is over.
const (
	byRules  = "rules"
	byResign = "resign"
	byFlag   = "flag" // a clock has run out
	byDraw   = "draw" // agreed
)

// refusal is an error for the player.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// seat is a place at the table.
type seat struct {
	User    string        `json:"user,omitempty"`  // empty: free
	Token   []byte        `json:"token,omitempty"` // SHA-256 of the player's token
	Left    time.Duration `json:"left,omitempty"`  // on its clock when its turn began
	Rematch bool          `json:"rematch,omitempty"`
}

// result is how a match ended.
type result struct {
	Winner int    `json:"winner"` // a seat, -1: a draw
	Reason string `json:"reason"`
}

// match is a game with its players and clocks. It has no lock and no clock of
// its own: the time is passed in. A method that returns an error has changed
// nothing.
type match struct {
	rules     Rules
	clock     time.Duration // of each player in the next game; 0: none
	increment time.Duration // for each move of the next game

	// State that survives a restart.
	Version   int64           `json:"version"` // rises with each change
	Status    string          `json:"status"`
	Seats     []seat          `json:"seats"`
	First     int             `json:"first"` // the seat that plays the board's seat 0
	Board     Board           `json:"-"`
	BoardJSON json.RawMessage `json:"board,omitempty"`
	Since     time.Time       `json:"since,omitzero"` // when the turn began
	Offer     int             `json:"offer"`          // the seat that offers a draw, -1: none
	Result    *result         `json:"result,omitempty"`

	// Clock and Increment are those of the game that has begun. Versions that did not save
	// them had those of the configuration.
	Clock     time.Duration `json:"clock"`
	Increment time.Duration `json:"increment"`
}

func newMatch(rules Rules, seats int, clock, increment time.Duration) *match {
	return &match{rules: rules, clock: clock, increment: increment, Status: waiting, Seats: make([]seat, seats), Offer: -1}
}

// sit takes a seat; -1 means any free one. The match begins when all seats are
// taken.
func (m *match) sit(want int, user, token string, now time.Time) (int, error) {
	if m.Status == playing {
		return 0, refuse("the game has begun: its seats are taken")
	}
	for i := range m.Seats {
		if m.Seats[i].User != "" || want >= 0 && want != i {
			continue
		}
		sum := sha256.Sum256([]byte(token))
		m.Seats[i] = seat{User: user, Token: sum[:]}
		m.Version++
		if m.Status == waiting && m.full() {
			m.beginMatch(now)
		}
		return i, nil
	}
	if want >= 0 {
		return 0, refuse("seat %d is taken", want)
	}
	return 0, refuse("all seats are taken")
}

func (m *match) full() bool {
	for _, s := range m.Seats {
		if s.User == "" {
			return false
		}
	}
	return true
}

// stand gives up a seat, but not during a game.
func (m *match) stand(at int) error {
	if m.Status == playing {
		return refuse("the game has begun: resign first")
	}
	m.Seats[at] = seat{}
	m.Version++
	return nil
}

// find returns the seat that a token is for, -1 if there is none.
func (m *match) find(token string) int {
	sum := sha256.Sum256([]byte(token))
	for i, s := range m.Seats {
		if s.User != "" && subtle.ConstantTimeCompare(sum[:], s.Token) == 1 {
			return i
		}
	}
	return -1
}

func (m *match) beginMatch(now time.Time) {
	m.Clock, m.Increment = m.clock, m.increment
	m.Status, m.Board, m.Result, m.Offer, m.Since = playing, m.rules.New(len(m.Seats)), nil, -1, now
	for i := range m.Seats {
		m.Seats[i].Left, m.Seats[i].Rematch = m.clock, false
	}
}

// turnSeat returns the seat whose turn it is: the board's seats begin at First.
func (m *match) turnSeat() int { return (m.Board.Turn() + m.First) % len(m.Seats) }

// move makes a move. It is refused if the clock has run out.
func (m *match) move(at int, move json.RawMessage, now time.Time) error {
	switch {
	case m.Status == waiting:
		return refuse("the game has not begun: a seat is free")
	case m.Status == over:
		return refuse("the game is over")
	case m.turnSeat() != at:
		return refuse("it is not your turn")
	case m.Clock > 0 && !now.Before(m.deadline()):
		return refuse("your clock has run out")
	}
	if err := m.Board.Move(move); err != nil {
		return refuse("%v", err)
	}
	if m.Clock > 0 {
		m.Seats[at].Left = m.clockLeft(at, now, at) + m.Increment
	}
	m.Since = now
	m.Version++
	if m.Offer >= 0 && m.Offer != at { // a move declines the offer
		m.Offer = -1
	}
	if done, winner := m.Board.Over(); done {
		if winner >= 0 {
			winner = (winner + m.First) % len(m.Seats)
		}
		m.endMatch(winner, byRules)
	}
	return nil
}

// clockLeft returns what a seat's clock shows; turn is the seat whose turn it
// is.
func (m *match) clockLeft(at int, now time.Time, turn int) time.Duration {
	left := m.Seats[at].Left
	if at == turn {
		left -= max(0, now.Sub(m.Since))
	}
	return max(0, left)
}

// deadline returns when the running clock runs out; zero means never.
func (m *match) deadline() time.Time {
	if m.Status != playing || m.Clock == 0 {
		return time.Time{}
	}
	return m.Since.Add(m.Seats[m.turnSeat()].Left)
}

// flag ends the match if a clock has run out.
func (m *match) flag(now time.Time) bool {
	due := m.deadline()
	if due.IsZero() || now.Before(due) {
		return false
	}
	m.Seats[m.turnSeat()].Left = 0
	m.lose(m.turnSeat(), byFlag)
	return true
}

// resign gives the game up.
func (m *match) resign(at int) error {
	if m.Status != playing {
		return refuse("no game is in progress")
	}
	m.lose(at, byResign)
	return nil
}

// lose ends the match by the loss of a seat: of two players the other wins, of
// more nobody does.
func (m *match) lose(at int, reason string) {
	winner := -1
	if len(m.Seats) == 2 {
		winner = 1 - at
	}
	m.endMatch(winner, reason)
}

func (m *match) endMatch(winner int, reason string) {
	m.Status, m.Result, m.Offer = over, &result{winner, reason}, -1
	m.Version++
}

// draw offers a draw, or accepts an offer.
func (m *match) draw(at int) error {
	switch {
	case m.Status != playing:
		return refuse("no game is in progress")
	case len(m.Seats) != 2:
		return refuse("a draw is between two players")
	case m.Offer == at:
		return refuse("you have offered a draw already")
	case m.Offer >= 0:
		m.endMatch(-1, byDraw)
	default:
		m.Offer = at
		m.Version++
	}
	return nil
}

// rematch asks for another game; it begins when all have asked, and the next
// player has the first move.
func (m *match) rematch(at int, now time.Time) error {
	if m.Status != over {
		return refuse("the game is not over")
	}
	m.Seats[at].Rematch = true
	m.Version++
	for _, s := range m.Seats {
		if s.User == "" || !s.Rematch {
			return nil
		}
	}
	m.First = (m.First + 1) % len(m.Seats)
	m.beginMatch(now)
	return nil
}

// pause charges the running clock and stops it until resume.
func (m *match) pause(now time.Time) {
	if m.Status == playing && m.Clock > 0 {
		m.Seats[m.turnSeat()].Left = m.clockLeft(m.turnSeat(), now, m.turnSeat())
		m.Since = now
	}
}

// resume restarts the clock.
func (m *match) resume(now time.Time) { m.Since = now }

func (m *match) encode() ([]byte, error) {
	if m.Board != nil {
		text, err := m.Board.MarshalJSON()
		if err != nil {
			return nil, err
		}
		m.BoardJSON = text
	}
	return json.Marshal(m)
}

// decodeMatch decodes what encode has written. Changed clock settings do not
// affect a game that has begun.
func decodeMatch(data []byte, rules Rules, seats int, clock, increment time.Duration) (*match, error) {
	m := newMatch(rules, seats, clock, increment)
	m.Clock, m.Increment = clock, increment
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("game: a saved match is damaged: %w", err)
	}
	if len(m.Seats) != seats {
		return nil, fmt.Errorf("game: the saved match has %d seats, the configuration %d", len(m.Seats), seats)
	}
	if len(m.BoardJSON) > 0 {
		m.Board = rules.New(seats)
		if err := json.Unmarshal(m.BoardJSON, m.Board); err != nil {
			return nil, fmt.Errorf("game: the saved board is damaged: %w", err)
		}
	}
	return m, nil
}
