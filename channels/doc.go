// Package channels gives Go programs what Phoenix Channels gives Elixir ones:
// many topics over one connection, joined and left at will, with pushes,
// replies and broadcasts, spoken in Phoenix's own protocol so that its clients
// connect unchanged.
//
// A [Channel] says what happens on topics of a pattern; an [Endpoint] listens
// and serves channels at socket paths:
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
// # Callbacks
//
// The callbacks of one joined channel run one at a time and in the order of
// the messages. They may block: nothing else waits for them. A callback that
// panics ends its own channel, with phx_error to the client, and nothing else.
// A channel that never blocks can say so ([Channel.OnLoop]) and is then run by
// the event loop itself.
//
// # State, middleware, further topics
//
// What a channel keeps about its client stands under a typed [Key]. Middleware
// ([Channel.Use]) sees the joins and events of a channel and how they came out: it
// logs, measures, or refuses. A channel that needs the broadcasts to other topics
// asks for them ([Context.Subscribe], [Context.Forward]).
//
// # Order
//
// What one channel sends to one socket arrives in the order in which it was
// sent, and the broadcasts of one channel to one topic arrive in their order
// at every subscriber.
package channels
