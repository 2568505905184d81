// Package chat is a ready type: rooms with messages, typing, presence, and a
// backlog for those who come later. Register it with
//
//	manager.Register(chat.Type())
//
// and clients join "room:NAME" with {"user": "ada"}. docs/types.md has all
// events.
//
// A backlog is kept by the instance's snapshots: it is saved within [SaveAfter]
// and when the instance stops, so that only a crash of the process loses what
// was said last. A room that nobody is in takes no memory.
package chat
