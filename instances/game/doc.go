// Package game is a ready type: one table with seats and everybody who watches.
//
// Turn-based games have rules ([Rules]; tic-tac-toe and connect four are here),
// a clock for each player, and are saved before a move is answered: a restart
// of the server, kill -9 included, loses none. Games that tick have a [World]
// (snake is here): inputs are gathered, and at a fixed rate the world moves on
// and everybody is told what has changed.
//
//	manager.Register(game.Type())
//
// An instance is one game: {"rules": "connect4", "clock": "5m", "increment": "3s"}.
// Clients join the topic "game"; docs/types.md has all events.
package game
