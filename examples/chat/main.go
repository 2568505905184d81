// Command chat is a chat server with rooms, messages, presence, and the last messages for
// clients that come later. Clients connect with phoenix.js to ws://localhost:4000/socket.
package main

import (
	"context"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/presence"
)

type message struct {
	User string `json:"user"`
	Body string `json:"body"`
}

// user is the name that the client joined with.
var user = channels.NewKey[string]("user")

type afterJoin struct{}

func chat(who *presence.Tracker) *channels.Channel {
	room := channels.Handle("room:*", func(c *channels.Context, p message) (channels.NoReply, error) {
		if p.User == "" {
			return channels.NoReply{}, channels.Errorf("join with your name as user")
		}
		user.Set(c, p.User)
		return channels.NoReply{}, c.Send(afterJoin{})
	})
	channels.Info(room, func(c *channels.Context, _ afterJoin) error {
		if _, err := who.Track(c, user.Get(c), map[string]int64{"since": time.Now().Unix()}); err != nil {
			return err
		}
		return who.PushState(c)
	})
	channels.On(room, "new_msg", func(c *channels.Context, m message) (channels.NoReply, error) {
		if m.Body == "" {
			return channels.NoReply{}, channels.Errorf("a message needs a body")
		}
		m.User = user.Get(c)
		return channels.NoReply{}, c.Broadcast("new_msg", m)
	})
	return room
}

// recentMessages records messages: the last 20 are sent to each client that joins, and
// clients may ask for what they missed.
func recentMessages() (*history.Space, error) {
	rule := history.Rule{Topics: []string{"room:*"}, Events: []string{"new_msg"}, OnJoin: 20}
	return history.NewStore(history.Options{}).Space("", []history.Rule{rule})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	recent, err := recentMessages()
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := channels.NewEndpoint(channels.Options{History: recent, Logger: channels.SlogLogger(slog.Default())})
	if err != nil {
		log.Fatal(err)
	}
	endpoint.Socket("/socket", channels.SocketOptions{}, chat(presence.New(endpoint, presence.Options{})))
	if err := endpoint.ListenAndServe(ctx, ":4000"); err != nil {
		log.Fatal(err)
	}
}
