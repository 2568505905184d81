package channels_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestLimitIsLogged: a limit that ends a socket is named in the log, once.
func TestLimitIsLogged(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for _, test := range []struct {
			limit string
			end   func(s *server, p *peer)
		}{
			{"max_message", func(_ *server, p *peer) {
				_ = p.WriteText(`["1","2","room:1","big",{"x":"` + strings.Repeat("x", 100_000) + `"}]`)
			}},
			{"outbound_bytes", func(s *server, _ *peer) {
				for s.Stats().Network.ClosedSlow == 0 {
					if err := s.Broadcast("room:1", "big", map[string]string{"x": strings.Repeat("x", 50_000)}); err != nil {
						t.Fatal(err)
					}
				}
			}},
		} {
			t.Run(test.limit, func(t *testing.T) {
				o, log := o, new(logged)
				logger := zerolog.New(log).Level(zerolog.WarnLevel)
				o.Logger = &logger
				o.Limits = channels.Limits{MaxMessage: 64 << 10, OutboundBytes: 128 << 10, SendBuffer: 16 << 10}
				s := serve(t, o, channels.SocketOptions{}, room())
				p := s.dial(t)
				p.join("room:1", "{}")
				test.end(s, p)
				waitFor(t, "the socket to be closed", func() bool { return s.Stats().Sockets == 0 })
				if text := log.String(); strings.Count(text, `"limit":"`) != 1 || !strings.Contains(text, `"limit":"`+test.limit+`"`) {
					t.Errorf("want one line with limit %s:\n%s", test.limit, text)
				}
			})
		}
	})
}
