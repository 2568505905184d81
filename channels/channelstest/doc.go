// Package channelstest tests channels without a network, as Phoenix.ChannelTest
// does: connect, join, push, and assert replies, pushes and broadcasts.
//
//	endpoint := channelstest.Start(t, channels.Options{})
//	endpoint.Socket("/socket", channels.SocketOptions{}, room)
//	ada := channelstest.Connect(t, endpoint, "/socket?user=ada")
//	lobby := ada.Join("room:lobby", nil)
//	lobby.Push("new_msg", map[string]any{"body": "hello"}).AssertReply("ok", nil)
//	lobby.AssertPush("new_msg", map[string]any{"body": "hello"})
//
// Everything between the client's bytes and the callbacks is the real server,
// over in-memory connections; inside testing/synctest its time is fake.
// A client sends heartbeats as phoenix.js does, so that its socket stays open however
// long a test takes.
//
// What is asserted is compared as JSON: an expected object matches one that
// has at least its keys, as a pattern does in Elixir; nil matches anything.
// Assertions wait for up to [Timeout].
package channelstest

import "time"

// Timeout is how long an assertion waits, and Quiet how long a refutation
// listens.
const (
	// Timeout is how long an assertion waits, also on a machine that has other work.
	// Only a test that fails waits that long.
	Timeout = 30 * time.Second
	// Quiet is how long a refutation waits.
	Quiet = 50 * time.Millisecond
)
