// Command graphql serves GraphQL queries, mutations and subscriptions to the
// clients of Absinthe, Elixir's GraphQL: npm's @absinthe/socket, with or without
// its Apollo link, and the Phoenix transport of PyPI's gql.
//
//	go -C examples/graphql run .
//
// docs/examples.md has clients for it. chat.go is the application, as resolvers for
// github.com/graph-gophers/graphql-go. absinthe.go serves it over channels.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mycelium-rt/mycelium/channels"
)

func run(ctx context.Context, addr string) error {
	endpoint, err := channels.NewEndpoint(channels.Options{
		Logger: channels.SlogLogger(slog.Default()),
		Limits: channels.Limits{MaxMessage: 64 << 10},
	})
	if err != nil {
		return err
	}
	endpoint.Socket("/socket", channels.SocketOptions{}, absinthe(endpoint, newSchema(newChat())))
	return endpoint.ListenAndServe(ctx, addr)
}

func main() {
	addr := flag.String("addr", "localhost:4000", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}
