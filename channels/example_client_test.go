package channels_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// converse serves a channel to one client, which joins "room:1" and pushes events,
// each an event and its payload, and prints what it is sent for each.
func converse(room *channels.Channel, params string, events ...string) {
	quiet := zerolog.Nop()
	endpoint, err := channels.NewEndpoint(channels.Options{Logger: &quiet, Loops: 1})
	if err != nil {
		panic(err)
	}
	defer endpoint.Shutdown(context.Background())
	endpoint.Socket("/socket", channels.SocketOptions{}, room)
	addr, err := endpoint.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	client, err := wstest.Dial(addr.String(), "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		panic(err)
	}
	defer client.Drop()
	for i, event := range append([]string{"phx_join " + params}, events...) {
		name, payload, _ := strings.Cut(event, " ")
		ref := strconv.Itoa(i + 1)
		if err := client.WriteText(fmt.Sprintf(`["1",%q,"room:1",%q,%s]`, ref, name, payload)); err != nil {
			panic(err)
		}
		if err := client.WriteText(fmt.Sprintf(`[null,"beat %s","phoenix","heartbeat",{}]`, ref)); err != nil {
			panic(err)
		}
		hear(client, "beat "+ref, ref)
	}
}

// hear prints messages until ref is answered or the channel has crashed, and the
// heartbeat beat is answered too.
func hear(client *wstest.Client, beat, ref string) {
	for beaten, answered := false, false; !beaten || !answered; {
		_, data, err := client.ReadMessage()
		if err != nil {
			panic(err)
		}
		m, err := decodeText(data)
		switch {
		case err != nil:
			panic(err)
		case m.ref == beat:
			beaten = true
			continue
		case m.ref == ref:
			fmt.Println(m.status, string(m.response))
		default:
			fmt.Println(m.topic, m.event, string(m.payload))
		}
		answered = answered || m.ref == ref || m.event == "phx_error"
	}
}
