package game

import (
	"encoding/json"
	"fmt"
	"slices"
)

// grid is the rules of two games that are won by a row of pieces.
type grid struct {
	name          string
	columns, rows int
	line          int  // how many in a row win
	falls         bool // a piece falls to the lowest free row of its column
}

var (
	ticTacToe = grid{name: "tictactoe", columns: 3, rows: 3, line: 3}
	connect4  = grid{name: "connect4", columns: 7, rows: 6, line: 4, falls: true}
)

// Name implements Rules.
func (g grid) Name() string { return g.name }

// Seats implements Rules.
func (g grid) Seats() (least, most int) { return 2, 2 }

// New implements Rules.
func (g grid) New(int) Board {
	b := &gridBoard{rules: g, Columns: g.columns, Rows: g.rows, Cells: make([]int, g.columns*g.rows)}
	for i := range b.Cells {
		b.Cells[i] = empty
	}
	return b
}

// empty is the value of a cell without a piece.
const empty = -1

// gridBoard is a board of cells, row by row from the top.
type gridBoard struct {
	rules   grid
	Columns int   `json:"columns"`
	Rows    int   `json:"rows"`
	Cells   []int `json:"cells"` // the seat whose piece it has, or empty
	Moves   int   `json:"moves"`
	Line    []int `json:"line"` // cells that have won
}

// Turn implements Board.
func (b *gridBoard) Turn() int { return b.Moves % 2 }

// gridMove is a move: a column if pieces fall, else a cell.
type gridMove struct {
	Column *int `json:"column"`
	Cell   *int `json:"cell"`
}

// Move implements Board.
func (b *gridBoard) Move(move json.RawMessage) error {
	var m gridMove
	if err := json.Unmarshal(move, &m); err != nil {
		return fmt.Errorf("a move is {%q: a whole number}", b.field())
	}
	cell, err := b.target(m)
	if err != nil {
		return err
	}
	b.Cells[cell] = b.Turn()
	b.Moves++
	b.Line = b.won(cell)
	return nil
}

func (b *gridBoard) field() string {
	if b.rules.falls {
		return "column"
	}
	return "cell"
}

// target returns the cell that a move fills.
func (b *gridBoard) target(m gridMove) (int, error) {
	at, bound := m.Cell, len(b.Cells)
	if b.rules.falls {
		at, bound = m.Column, b.Columns
	}
	switch {
	case at == nil:
		return 0, fmt.Errorf("%s is missing: it is 0 to %d", b.field(), bound-1)
	case *at < 0 || *at >= bound:
		return 0, fmt.Errorf("%s is %d: it is 0 to %d", b.field(), *at, bound-1)
	case !b.rules.falls && b.Cells[*at] != empty:
		return 0, fmt.Errorf("cell %d is taken", *at)
	case !b.rules.falls:
		return *at, nil
	}
	for row := b.Rows - 1; row >= 0; row-- {
		if cell := row*b.Columns + *at; b.Cells[cell] == empty {
			return cell, nil
		}
	}
	return 0, fmt.Errorf("column %d is full", *at)
}

// won returns the winning line that a piece at cell has completed.
func (b *gridBoard) won(cell int) []int {
	for _, direction := range [][2]int{{1, 0}, {0, 1}, {1, 1}, {1, -1}} {
		line := append(b.reach(cell, -direction[0], -direction[1]), cell)
		line = append(line, b.reach(cell, direction[0], direction[1])...)
		if len(line) >= b.rules.line {
			slices.Sort(line)
			return line
		}
	}
	return nil
}

// reach returns the neighbours in a direction with the same piece.
func (b *gridBoard) reach(cell, dx, dy int) (line []int) {
	x, y := cell%b.Columns+dx, cell/b.Columns+dy
	for x >= 0 && x < b.Columns && y >= 0 && y < b.Rows && b.Cells[y*b.Columns+x] == b.Cells[cell] {
		line = append(line, y*b.Columns+x)
		x, y = x+dx, y+dy
	}
	return line
}

// Over implements Board.
func (b *gridBoard) Over() (over bool, winner int) {
	if len(b.Line) > 0 {
		return true, b.Cells[b.Line[0]]
	}
	return b.Moves == len(b.Cells), -1
}

// gridJSON is a gridBoard without its methods.
type gridJSON gridBoard

// MarshalJSON implements Board.
func (b *gridBoard) MarshalJSON() ([]byte, error) { return json.Marshal((*gridJSON)(b)) }

// UnmarshalJSON implements Board.
func (b *gridBoard) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*gridJSON)(b)); err != nil {
		return err
	}
	if b.Columns != b.rules.columns || b.Rows != b.rules.rows || len(b.Cells) != b.Columns*b.Rows {
		return fmt.Errorf("a board of %d by %d with %d cells is not one of %s", b.Columns, b.Rows, len(b.Cells), b.rules.name)
	}
	return nil
}
