// Package collab is a built-in type: one document that many clients edit at
// once.
//
// A client sends an operation with the revision that it was made on. The server
// puts all operations into one order, transforms each over those that came
// before it, numbers it, and sends it to everybody. A client that was away asks
// for the operations that it has missed. Documents are text (operational
// transform) or registers (a JSON object whose keys are set, the last one
// wins).
//
//	manager.Register(collab.Type())
//
// An instance is one document: {"kind": "text", "durable": true}. Clients join
// the topic "doc"; docs/types.md has all events.
// internal/site/assets/collab-text.js shows how a client rebases its unanswered
// operations.
package collab
