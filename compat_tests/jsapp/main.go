// Command jsapp is the server that the JavaScript clients are tested against: the relay of
// cmd/mycelium with a few more events, such as a forced disconnect and binary replies.
//
// Its socket's id is the connect param user_id. Events, on any topic:
//
//	disconnect_user {"id": …}   closes the sockets of that id, replies ok
//	bin (bytes)                 broadcasts bin_shout with the bytes, replies ok with them
//	crash                       the channel crashes
//	everything else             as with the relay
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/compat_tests/pair"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	var flags pair.Flags
	flags.Define(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, flags); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen string, flags pair.Flags) (err error) {
	node, err := flags.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	logger := zerolog.New(os.Stderr)
	endpoint, err := channels.NewEndpoint(channels.Options{Logger: &logger, Bus: node.Bus()})
	if err != nil {
		return err
	}
	r := relay.New(endpoint, relay.Options{Topics: []string{"*"}})
	defer r.Close()
	served := r.Channels()
	for _, ch := range served {
		addEvents(ch)
	}
	connect := func(ctx context.Context, s *channels.Socket, req *channels.Request) error {
		if id := req.Params.Get("user_id"); id != "" {
			s.SetID(id)
		}
		return r.Connect(ctx, s, req)
	}
	endpoint.Socket("/socket", channels.SocketOptions{Connect: connect, CheckOrigin: channels.AnyOrigin}, served...)
	addr, err := endpoint.Listen(listen)
	if err != nil {
		return err
	}
	logger.Info().Stringer("addr", addr).Msg("listening")
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return endpoint.Shutdown(down)
}

func addEvents(ch *channels.Channel) {
	channels.On(ch, "disconnect_user", func(c *channels.Context, m struct {
		ID string `json:"id"`
	}) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, c.Endpoint().Disconnect(m.ID)
	})
	channels.On(ch, "bin", func(c *channels.Context, data channels.Binary) (channels.Binary, error) {
		return data, c.Broadcast("bin_shout", data)
	})
	channels.On(ch, "crash", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		panic("a client asked for it")
	})
}
