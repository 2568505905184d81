package channels_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
)

// rejoinRuns is how often each end is followed by a join: REJOINS, or few.
func rejoinRuns(t *testing.T) int {
	text := os.Getenv("REJOINS")
	if text == "" {
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("REJOINS: %v", err)
	}
	return n
}

// A join that comes 0 to 60 µs behind the end of the channel before it is
// answered at once, whichever of the two the server sees first. It used to wait
// for an end that had come already.
func TestRejoinBehindAnEnd(t *testing.T) {
	channels.SetRejoinWait(t, 2*hang)
	both(t, func(t *testing.T, o channels.Options) {
		quiet := zerolog.Nop() // the crashes are meant
		o.Logger = &quiet
		ch := channels.Handle("a:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, nil
		})
		channels.On(ch, "stop", func(c *channels.Context, _ text) (text, error) { c.Stop(nil); return text{}, nil })
		channels.On(ch, "crash", func(*channels.Context, text) (text, error) { panic("crash") })
		s := serve(t, o, channels.SocketOptions{}, ch)
		p := s.dial(t)
		for _, event := range []string{"phx_leave", "stop", "crash"} {
			var slowest time.Duration
			runs := rejoinRuns(t)
			for i := range runs {
				took, err := p.rejoin(fmt.Sprintf("a:%s%d", event, i), event, time.Duration(rand.IntN(60))*time.Microsecond)
				if err != nil {
					t.Fatalf("%s %d: %v", event, i, err)
				}
				slowest = max(slowest, took)
			}
			t.Logf("join behind %s: %d times, the slowest answer after %v", event, runs, slowest)
			if slowest > hang {
				t.Errorf("join behind %s: answered after %v", event, slowest)
			}
		}
	})
}

// rejoin joins, ends the channel by an event, joins again after a pause, and
// returns how long the answer to that took.
func (p *peer) rejoin(topic, event string, pause time.Duration) (took time.Duration, err error) {
	first, _, err := p.tryJoin(topic, "{}")
	if err != nil {
		return 0, err
	}
	if _, err := p.send(first, topic, event, "{}"); err != nil {
		return 0, err
	}
	for begun := time.Now(); time.Since(begun) < pause; {
		runtime.Gosched()
	}
	begun := time.Now()
	second, reply, err := p.tryJoin(topic, "{}")
	if err == nil && reply.status != "ok" {
		err = fmt.Errorf("the second join was answered %v", reply)
	}
	if err != nil {
		return 0, err
	}
	took = time.Since(begun)
	_, err = p.call(second, topic, "phx_leave", "{}")
	return took, err
}
