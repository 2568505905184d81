package channels_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// An error refuses whatever it is: no status that it chooses lets a client in.
func TestEveryErrorRefuses(t *testing.T) {
	var none *channels.RefusedError
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"the zero status":    {&channels.RefusedError{}, 403},
		"with a body":        {&channels.RefusedError{Body: "no"}, 403},
		"101":                {&channels.RefusedError{Status: 101}, 403},
		"200":                {&channels.RefusedError{Status: 200}, 403},
		"302":                {&channels.RefusedError{Status: 302}, 403},
		"399":                {&channels.RefusedError{Status: 399}, 403},
		"400":                {&channels.RefusedError{Status: 400}, 400},
		"599":                {&channels.RefusedError{Status: 599}, 599},
		"600":                {&channels.RefusedError{Status: 600}, 403},
		"a negative status":  {&channels.RefusedError{Status: -1}, 403},
		"a typed nil":        {none, 403},
		"an error of Go":     {errors.New("no"), 403},
		"wrapped, no status": {errors.Join(errors.New("no"), &channels.RefusedError{}), 403},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				refuse := func(context.Context, *channels.Socket, *channels.Request) error { return c.err }
				s := newServer(t, o)
				defer shutdown(t, s)
				long := channels.LongPollOptions{Enabled: true}
				s.Socket("/socket", channels.SocketOptions{Connect: refuse, LongPoll: long}, room())
				s.Socket("/quick", channels.SocketOptions{Connect: refuse, ConnectOnLoop: true}, room())
				s.Route("/rooms", func(string) (*channels.Endpoint, string, error) { return nil, "", c.err })
				paths := []string{"/socket/websocket?vsn=2.0.0", "/quick/websocket?vsn=2.0.0"}
				var custom *channels.RefusedError
				if errors.As(c.err, &custom) { // Route answers other errors with 500
					paths = append(paths, "/rooms/1/websocket?vsn=2.0.0")
				}
				for _, path := range paths {
					if status, _, _ := s.handshake(t, path, nil); status != c.want {
						t.Errorf("%s: %d, want %d", path, status, c.want)
					}
				}
				resp, err := http.Get("http://" + s.addr + "/socket/longpoll?vsn=2.0.0")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"status":403}` {
					t.Errorf("long polling: %s, %v", body, err)
				}
			})
		})
	}
}
