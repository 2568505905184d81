package channels_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// TestAllocationsOfRecorded: a message that is recorded allocates no more than one
// that is not, apart from a block now and then.
func TestAllocationsOfRecorded(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	plain := newCrowd(t, serve(t, channels.Options{Loops: 2}, channels.SocketOptions{}, relaying()), 1).mallocs(t, 4000)
	recorded := newCrowd(t, serve(t, recorded(t, channels.Options{Loops: 2}, history.Rule{}), channels.SocketOptions{}, relaying()), 1).mallocs(t, 4000)
	t.Logf("%.2f allocations a message, %.2f if it is recorded", plain, recorded)
	if recorded > plain+0.2 {
		t.Errorf("%.2f allocations a message, %.2f if it is recorded", plain, recorded)
	}
}

// TestIdleHeapOfHistory: an idle connection takes no more memory for an endpoint with a
// history than without one, and a client that asks for what it missed takes little: a session
// and its place in a table take 61 bytes. All clients are sent a broadcast before,
// because a loop keeps the ring that this fills, as it keeps the one that the clients of
// sessions fill when they answer their pings in the same moment. The test takes 6 s, which the connections need.
func TestIdleHeapOfHistory(t *testing.T) {
	if race.Enabled || testing.Short() {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	if !heaptest.Alone(t) {
		return
	}
	heapOf := func(rules []history.Rule, params string) float64 {
		o := channels.Options{Loops: 2}
		if rules != nil {
			o = recorded(t, o, rules...)
		}
		s := serve(t, o, channels.SocketOptions{}, publishing("room:*"))
		before := heaptest.Live()
		release := heaptest.StartClients(t, fmt.Sprintf("%s=%d %s %s", crowdTarget, crowdSize, s.addr, params))
		waitFor(t, "the crowd", func() bool { return s.Stats().Channels == crowdSize })
		if strings.Contains(params, "session") { // what it has after a join only
			waitFor(t, "the clients to acknowledge their joins", func() bool {
				s.Beat(t.Context())
				return o.History.Sessions().Stats().Confirmed == crowdSize
			})
		}
		sent := s.Stats().MessagesOut
		if err := s.Broadcast("room:lobby", "told", said{}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the crowd to be told", func() bool { return s.Stats().MessagesOut >= sent+crowdSize })
		each := (float64(heaptest.Live()) - float64(before)) / crowdSize
		release()
		waitFor(t, "the crowd to leave", func() bool { return s.Stats().Sockets == 0 })
		return each
	}
	messages := history.Rule{Events: []string{"msg"}} // nothing is recorded here
	heapOf(nil, "{}")                                 // what is made only once
	none := max(heapOf(nil, "{}"), heapOf(nil, "{}")) // what other tests have left may go meanwhile
	for _, test := range []struct {
		name, params string
		rules        []history.Rule
		most         float64
	}{
		{"off", "{}", []history.Rule{}, 0},
		{"on", "{}", []history.Rule{messages}, 0},
		{"asked", `{"history":{}}`, []history.Rule{messages}, 64},
		{"session", "{} a-session", []history.Rule{messages}, 64},
	} {
		more := heapOf(test.rules, test.params) - none
		for try := 0; try < 4 && more > test.most+8; try++ { // a loaded machine leaves something behind now and then
			more = min(more, heapOf(test.rules, test.params)-none)
		}
		t.Logf("%s: %.1f bytes of heap per idle joined connection", test.name, more)
		if more > test.most+8 { // by which the rest of the heap may vary
			t.Errorf("%s: %.1f bytes more per idle joined connection, at most %.0f are allowed", test.name, more, test.most)
		}
	}
}

// BenchmarkHistory compares messages that are recorded with messages that are not,
// on two servers in turns, by the processor time of server and client: 1 and 16
// outstanding, each message to its sender alone. The limits are 1.15 and 1.5.
func BenchmarkHistory(b *testing.B) {
	for _, outstanding := range []int{1, 16} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			crowds := []*crowd{
				newCrowd(b, serve(b, channels.Options{Loops: 1}, channels.SocketOptions{}, relaying()), 1),
				newCrowd(b, serve(b, recorded(b, channels.Options{Loops: 1}, history.Rule{}), channels.SocketOptions{}, relaying()), 1),
			}
			turn := func(c *crowd) float64 {
				start := processorTime(b)
				for range 2000 / outstanding {
					c.sendBurst(b, outstanding)
				}
				return float64(processorTime(b) - start)
			}
			var ratios []float64
			for range 4 {
				turn(crowds[0])
				turn(crowds[1])
			}
			for b.Loop() {
				ratios = append(ratios, turn(crowds[1])/turn(crowds[0]))
				ratios = append(ratios, 1/(turn(crowds[0])/turn(crowds[1]))) // the other way round
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "recorded/plain")
		})
	}
}

// processorTime returns the processor time that this process has used.
func processorTime(t testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// sendBurst pushes n messages at once and reads what they come to.
func (c *crowd) sendBurst(t testing.TB, n int) {
	if _, err := c.sender.Write(slices.Repeat(c.frame, n)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c.sender, c.buf[:n*c.reply]); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkReplay compares a replay of 100 messages of 300 bytes with their live
// deliveries to the same client. The limit is 2.
func BenchmarkReplay(b *testing.B) {
	s := serve(b, recorded(b, channels.Options{Loops: 1}, history.Rule{}), channels.SocketOptions{}, relaying())
	client := s.dial(b)
	ref := client.join("relay:1", `{"history":{}}`)
	client.await("history_mark")
	payload := map[string]string{"x": fmt.Sprintf("%0300d", 1)}
	deliver := func() time.Duration {
		start := time.Now()
		for range 100 {
			if err := s.Broadcast("relay:1", "msg", payload); err != nil {
				b.Fatal(err)
			}
		}
		for n := 0; n < 100; {
			if m, err := client.read(); err != nil {
				b.Fatal(err)
			} else if m.event == "msg" {
				n++
			}
		}
		return time.Since(start)
	}
	replay := func() time.Duration {
		client.assertReply(ref, "relay:1", "phx_leave", "{}", "ok", "{}")
		start := time.Now()
		ref = client.join("relay:1", `{"history":{"last":100}}`)
		client.await("history_mark")
		return time.Since(start)
	}
	deliver()
	var ratios []float64
	for b.Loop() {
		ratios = append(ratios, float64(replay())/float64(deliver()))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "replay/live")
}
