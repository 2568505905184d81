// Package chat is a built-in type: rooms with messages, typing, presence, and a
// backlog for clients that join later. Register it with
//
//	manager.Register(chat.Type())
//
// and clients join "room:NAME" with {"user": "ada"}. docs/types.md has all
// events.
//
// A backlog is saved within [SaveAfter] and when the instance stops, so that
// only a crash of the process loses the last messages. A room without members
// takes no memory.
package chat
