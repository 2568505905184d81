package channels_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// A socket may be served at paths of its own, for WebSockets and for polls.
func TestCustomPaths(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		poll := channels.LongPollOptions{Enabled: true, Path: "/poll"}
		s.Socket("/api", channels.SocketOptions{Path: "/ws/v2", LongPoll: poll}, room())
		s.Socket("/bare", channels.SocketOptions{Path: "/"}, room())
		for path, want := range map[string]int{"/api/ws/v2": 101, "/bare": 101, "/api/websocket": 404, "/bare/websocket": 404} {
			got := 101
			c, err := wstest.Dial(s.addr, path+"?vsn=2.0.0", nil)
			if err == nil {
				c.Drop()
			} else if got = 0; strings.Contains(err.Error(), "status 404") {
				got = 404
			}
			if got != want {
				t.Errorf("%s: %d %v, want %d", path, got, err, want)
			}
		}
		r, err := http.Get("http://" + s.addr + "/api/poll?vsn=2.0.0")
		if err != nil {
			t.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer r.Body.Close()
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"status":410`) {
			t.Errorf("poll: %d %s", r.StatusCode, body)
		}
		for _, taken := range []channels.SocketOptions{{Path: "/ws/v2"}, {Path: "/poll"}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("path %s was given twice", taken.Path)
					}
				}()
				s.Socket("/api", taken, room())
			}()
		}
	})
}
