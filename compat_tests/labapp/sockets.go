package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// mountSockets serves all channels at each of the sockets, which differ in
// what the names of their paths say.
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

// connect refuses two tokens and gives the socket its id and assigns.
func connect(info func(*channels.Request) connectInfo) connectFunc {
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
		s.Assign("user_id", r.Params["user_id"])
		s.Assign("user", r.Params["user"])
		s.Assign("params", maps.Clone(r.Params))
		s.Assign("connect_info", info(r))
		return nil
	}
}

// tellReason answers a refusal that has a reason with a response of its own.
func tellReason(inner connectFunc) connectFunc {
	return func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
		err := inner(ctx, s, r)
		if errors.Is(err, errUnauthorized) {
			return &channels.RefusedError{Status: http.StatusUnauthorized, Body: "custom unauthorized"}
		}
		return err
	}
}

// userSocket is the id of a user's sockets.
func userSocket(id string) string { return "users_socket:" + id }

// connectInfo is what a socket's connect was told of the request.
type connectInfo struct {
	AuthToken           *string           `json:"auth_token"`
	XHeaders            map[string]string `json:"x_headers"`
	SecWebSocketHeaders []string          `json:"sec_websocket_headers"` // names
	UserAgent           *string           `json:"user_agent"`
	URI                 *uri              `json:"uri"`
	Peer                *string           `json:"peer"`
}

type uri struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Query  string `json:"query"`
}

// noInfo is the connect info of a socket that asks for none.
func noInfo(*channels.Request) connectInfo {
	return connectInfo{XHeaders: map[string]string{}, SecWebSocketHeaders: make([]string, 0, 4)}
}

func infoOf(r *channels.Request) connectInfo {
	info := noInfo(r)
	if token, ok := r.AuthToken(); ok {
		info.AuthToken = &token
	}
	for name, values := range r.Header { // by canonical name
		switch {
		case strings.HasPrefix(name, "X-"):
			info.XHeaders[strings.ToLower(name)] = values[len(values)-1]
		case strings.HasPrefix(name, "Sec-Websocket-"):
			info.SecWebSocketHeaders = append(info.SecWebSocketHeaders, strings.ToLower(name))
		case name == "User-Agent":
			agent := values[0] // the slice is the next client's too
			info.UserAgent = &agent
		}
	}
	info.URI = &uri{Scheme: r.URL.Scheme, Host: r.URL.Hostname(), Path: r.URL.Path, Query: r.URL.RawQuery}
	peer := r.RemoteAddr.Addr().Unmap().String()
	info.Peer = &peer
	return info
}
