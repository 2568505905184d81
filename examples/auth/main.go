// Command auth is a chat that only admits clients with a token. It is the example of
// docs/auth.md.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
)

type message struct {
	User string `json:"user"`
	Body string `json:"body"`
}

func room() *channels.Channel {
	ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil // the token says which rooms may be joined
	})
	channels.On(ch, "new_msg", func(c *channels.Context, m message) (channels.NoReply, error) {
		m.User, _ = auth.Current(c.Socket()).Text("sub") // not the name that the client sends
		return channels.NoReply{}, c.Broadcast("new_msg", m)
	})
	return ch
}

func serve(ctx context.Context, secret, addr string) error {
	logger := zerolog.New(os.Stderr)
	verifier, err := auth.New(auth.Options{
		Keys:     []auth.Key{{Algorithm: "HS256", Secret: secret}},
		SocketID: "users_socket:{sub}",
		Join:     []string{"room:lobby"}, // everybody; a token may allow more
		Publish:  []string{"room:*"},     // whatever has been joined
	}, &logger)
	if err != nil {
		return err
	}
	defer verifier.Close()
	endpoint, err := channels.NewEndpoint(channels.Options{Logger: &logger})
	if err != nil {
		return err
	}
	endpoint.Socket("/socket", verifier.Protect(channels.SocketOptions{}), room())
	return endpoint.ListenAndServe(ctx, addr)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, os.Getenv("SECRET"), ":4000"); err != nil {
		log.Fatal(err)
	}
}
