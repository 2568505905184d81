// Package collab is a ready type: one document that many change at once.
//
// A client sends an operation with the revision that it was made on. The server
// puts all operations into one order, rewrites each for what has come before it,
// numbers it, and sends it to everybody. A client that was away asks for what it
// has missed. Documents are text (operational transform) or registers (a JSON
// object whose keys are set, the last one wins).
//
//	manager.Register(collab.Type())
//
// An instance is one document: {"kind": "text", "durable": true}. Clients join
// the topic "doc"; docs/types.md has all events. How a client rebases what it
// has not yet been answered is in internal/site/assets/collab-text.js.
package collab
