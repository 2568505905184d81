package channels_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// user is the name that the client joined with.
var user = channels.NewKey[string]("user")

type person struct {
	User string `json:"user"`
}

type line struct {
	User string `json:"user,omitempty"`
	Body string `json:"body"`
}

// A chat room: clients give their name when they join, and what they say goes
// to everybody.
func Example() {
	room := channels.Handle("room:*", func(c *channels.Context, p person) (channels.NoReply, error) {
		if p.User == "" {
			return channels.NoReply{}, channels.Errorf("join with your name as user")
		}
		user.Set(c, p.User)
		return channels.NoReply{}, nil
	})
	channels.On(room, "new_msg", func(c *channels.Context, m line) (channels.NoReply, error) {
		m.User = user.Get(c)
		return channels.NoReply{}, c.Broadcast("new_msg", m)
	})

	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		log.Fatal(err)
	}
	endpoint.Socket("/socket", channels.SocketOptions{}, room)
	// Clients connect with phoenix.js: new Socket("ws://localhost:4000/socket").
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	fmt.Println(endpoint.ListenAndServe(ctx, "127.0.0.1:0"))
	// Output: <nil>
}

// A key keeps a value of one type with a joined channel.
func ExampleKey() {
	room := channels.Handle("room:*", func(c *channels.Context, p person) (channels.NoReply, error) {
		user.Set(c, p.User)
		return channels.NoReply{}, nil
	})
	channels.On(room, "who_am_i", func(c *channels.Context, _ channels.Payload) (person, error) {
		return person{user.Get(c)}, nil
	})
	converse(room, `{"user":"ada"}`, "who_am_i {}")
	// Output:
	// ok {}
	// ok {"user":"ada"}
}

// Errors made by Errorf are for the client. All others are logged, and the client
// learns nothing of them.
func ExampleOn() {
	room := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(room, "shout", func(c *channels.Context, m line) (line, error) {
		switch m.Body {
		case "":
			return line{}, channels.Errorf("a message needs a body")
		case "secret":
			return line{}, errors.New("the database is away")
		}
		return m, c.Broadcast("shout", m)
	})
	converse(room, `{}`, `shout {"body":""}`, `shout {"body":7}`, `shout {"body":"secret"}`)
	// Output:
	// ok {}
	// error {"reason":"a message needs a body"}
	// error {"reason":"invalid payload: \"body\" is a JSON number where a string belongs"}
	// error {"reason":"internal error"}
}

// A handler of a family of events gets the rest of the name.
func ExampleOnPrefix() {
	room := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.OnPrefix(room, "evt:", func(_ *channels.Context, name string, _ channels.Payload) (map[string]string, error) {
		return map[string]string{"event": name}, nil
	})
	channels.On(room, "evt:save", func(*channels.Context, channels.Payload) (map[string]string, error) {
		return map[string]string{"saved": "yes"}, nil
	})
	converse(room, `{}`, `evt:click {}`, `evt:save {}`, `unknown {}`)
	// Output:
	// ok {}
	// ok {"event":"click"}
	// ok {"saved":"yes"}
	// room:1 phx_error {"reason":"channel_crash"}
}

// Middleware sees joins and events, and how they came out.
func ExampleChannel_Use() {
	traced := func(next channels.Handler) channels.Handler {
		return func(c *channels.Context, p channels.Payload) (reply channels.Reply, err error) {
			fmt.Println("→", c.EventPattern(), string(p.Data))
			reply, err = next(c, p)
			fmt.Println("←", reply.Status, err)
			return reply, err
		}
	}
	members := func(next channels.Handler) channels.Handler {
		return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
			if c.Event() == "kick" && user.Get(c) != "ada" {
				return channels.Reply{}, channels.Errorf("only ada may")
			}
			return next(c, p)
		}
	}
	room := channels.Handle("room:*", func(c *channels.Context, p person) (channels.NoReply, error) {
		user.Set(c, p.User)
		return channels.NoReply{}, nil
	})
	room.Use(traced, members) // traced is the outermost
	channels.On(room, "kick", func(*channels.Context, person) (struct{}, error) { return struct{}{}, nil })
	converse(room, `{"user":"bob"}`, `kick {"user":"ada"}`)
	// Output:
	// → phx_join {"user":"bob"}
	// ← ok <nil>
	// ok {}
	// → kick {"user":"ada"}
	// ←  channels: error reply: only ada may
	// error {"reason":"only ada may"}
}

// A channel gets the broadcasts of another topic as messages.
func ExampleContext_Subscribe() {
	room := channels.Handle("room:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, c.Subscribe("prices")
	})
	channels.On(room, "trade", func(c *channels.Context, p channels.Payload) (struct{}, error) {
		return struct{}{}, c.Endpoint().Broadcast("prices", "changed", p)
	})
	heard := make(chan string, 1)
	channels.Info(room, func(_ *channels.Context, b channels.Broadcast) error {
		heard <- fmt.Sprint(b.Topic, " ", b.Event, " ", string(b.Payload.Data))
		return nil
	})
	converse(room, `{}`, `trade {"tea":3}`)
	fmt.Println(<-heard)
	// Output:
	// ok {}
	// ok {}
	// prices changed {"tea":3}
}

// A topic is forwarded to a client that has not joined it.
func ExampleContext_Forward() {
	room := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(room, "doc", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		const topic = "doc:7" // named by the server, which tells the client
		err := errors.Join(c.Forward(topic), c.Endpoint().Broadcast(topic, "data", line{Body: "hello"}))
		return channels.NoReply{}, errors.Join(err, c.Ref().Reply("ok", map[string]string{"topic": topic}))
	})
	converse(room, `{}`, `doc {}`)
	// Output:
	// ok {}
	// doc:7 data {"body":"hello"}
	// ok {"topic":"doc:7"}
}
