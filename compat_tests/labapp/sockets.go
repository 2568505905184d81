package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// mountSockets serves all channels on each of the sockets. Their paths say how they differ.
func mountSockets(e *channels.Endpoint, tracker *presence.Tracker) {
	all := []*channels.Channel{
		newEcho("echo:*"), newEcho("exact"),
		newDeny(), newJoinCrash(), newJoinBad(), newJoinSlow(), newJoinNil(),
		newRoom(tracker), newIntercept(), newRealtime(tracker),
	}
	e.Socket("/socket", channels.SocketOptions{
		CheckOrigin: channels.AnyOrigin, Connect: connect(infoOf), ConnectOnLoop: true, ReuseRequest: true, AuthToken: true,
		LongPoll: longPoll(1500 * time.Millisecond),
	}, all...)
	e.Socket("/plain", channels.SocketOptions{
		CheckOrigin: channels.AnyOrigin, Connect: connect(noInfo), ConnectOnLoop: true, ReuseRequest: true, LongPoll: longPoll(0),
	}, all...)
	e.Socket("/checked", channels.SocketOptions{
		CheckOrigin: channels.Origins("//example.com"), Connect: connect(infoOf), ConnectOnLoop: true, ReuseRequest: true,
		LongPoll: longPoll(1500 * time.Millisecond),
	}, all...)
	short := longPoll(300 * time.Millisecond)
	short.TokenMaxAge = 2 * time.Second
	e.Socket("/short", channels.SocketOptions{
		CheckOrigin: channels.AnyOrigin, Connect: connect(infoOf), ConnectOnLoop: true, ReuseRequest: true,
		IdleTimeout: 1500 * time.Millisecond, MaxMessage: 65536, Compress: true, LongPoll: short,
	}, all...)
	e.Socket("/sub", channels.SocketOptions{
		CheckOrigin: channels.AnyOrigin, Connect: connect(noInfo), ConnectOnLoop: true, ReuseRequest: true, Subprotocols: []string{"chat", "superchat"},
	}, all...)
	e.Socket("/reason", channels.SocketOptions{
		CheckOrigin: channels.AnyOrigin, Connect: tellReason(connect(noInfo)), ConnectOnLoop: true, ReuseRequest: true, LongPoll: longPoll(0),
	}, all...)
}

func longPoll(window time.Duration) channels.LongPollOptions {
	return channels.LongPollOptions{Enabled: true, Window: window}
}

type connectFunc func(ctx context.Context, s *channels.Socket, r *channels.Request) error

var (
	errRefused      = errors.New("refused")
	errUnauthorized = errors.New("unauthorized")
)

// connect refuses two tokens, sets the socket's id, and keeps what info keeps of the
// request.
func connect(info func(*channels.Request, *visitor)) connectFunc {
	return func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		switch r.Params.Get("token") {
		case "bad":
			return errRefused
		case "reason":
			return errUnauthorized
		}
		if id := r.Params.Get("user_id"); id != "" {
			s.SetID(userSocket(id))
		}
		v := &visitor{query: r.URL.RawQuery}
		info(r, v)
		visitors.Set(s, v)
		return nil
	}
}

// tellReason answers a refusal that has a reason with a custom response.
func tellReason(inner connectFunc) connectFunc {
	return func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
		err := inner(ctx, s, r)
		if errors.Is(err, errUnauthorized) {
			return &channels.RefusedError{Status: http.StatusUnauthorized, Body: "custom unauthorized"}
		}
		return err
	}
}

// userSocket returns the id of a user's sockets.
func userSocket(id string) string { return "users_socket:" + id }
