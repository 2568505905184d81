// Package channels implements Phoenix Channels: clients join and leave topics
// over one connection, push events, get replies, and receive broadcasts. It
// speaks Phoenix's own protocol, over WebSockets and long polling, so every
// client of Phoenix Channels connects to it unchanged. Other programs may send
// the same messages over raw TCP ([Endpoint.ListenTCP]).
//
// A [Channel] handles the topics of a pattern. An [Endpoint] listens, and
// serves channels at the paths of its sockets:
//
//	room := channels.Handle("room:*", func(c *channels.Context, p JoinParams) (JoinReply, error) {
//		return JoinReply{Topic: c.Topic()}, nil
//	})
//	channels.On(room, "new_msg", func(c *channels.Context, m Msg) (channels.NoReply, error) {
//		return channels.NoReply{}, c.Broadcast("new_msg", m)
//	})
//	endpoint, err := channels.NewEndpoint(channels.Options{})
//	…
//	endpoint.Socket("/socket", channels.SocketOptions{}, room)
//	err = endpoint.ListenAndServe(ctx, ":4000")
//
// Package channelstest has clients for tests of channels, and package presence
// tracks who is in a topic.
//
// # Callbacks
//
// The callbacks of one joined channel, a [Context], run one at a time and in
// the order of the messages. They may block, which delays only their own
// channel. A callback that panics ends its channel, and the client gets
// phx_error; other channels are not affected. A channel whose callbacks never
// block can declare so ([Channel.OnLoop]); the event loop then calls them
// without a goroutine.
//
// # State
//
// A typed [Key] stores a value with a joined channel or a socket. Middleware
// ([Channel.Use]) runs around the joins and events of a channel, for logging,
// metrics or authorization. A channel can subscribe to further topics: it gets
// their broadcasts as messages ([Context.Subscribe]), or they go to its client
// ([Context.Forward]).
//
// # Order
//
// A client gets the messages of one channel in the order in which they were
// sent. Broadcasts of one channel to one topic reach every subscriber in order.
package channels
