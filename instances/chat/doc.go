// Package chat is a built-in type: rooms with messages, typing, presence, and a
// backlog for clients that join later. Register it with
//
//	manager.Register(chat.Type())
//
// and clients join "room:NAME" with {"user": "ada"}. docs/types.md has all
// events.
//
// The messages of a room are recorded in the instance's history: Config has the rule,
// unless the spec has rules. Backlogs are filled from there. They are also saved within
// [SaveAfter] and when the instance stops, so that only a crash of the process loses the
// last messages. A room takes no memory beside that of its history once nobody is in it.
package chat
