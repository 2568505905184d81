// Package game is a built-in type: one table with seats, and spectators.
//
// Turn-based games have rules ([Rules]; tic-tac-toe and connect four are
// included) and a clock for each player. They are saved before a move is
// answered, so that a restart of the server, even by kill -9, loses no move.
// Games that tick have a [World] (snake is included): inputs are collected, and
// at a fixed rate the world advances and everybody is sent the changes.
//
//	manager.Register(game.Type())
//
// An instance is one game: {"rules": "connect4", "clock": "5m", "increment": "3s"}.
// Clients join the topic "game"; docs/types.md has all events.
package game
