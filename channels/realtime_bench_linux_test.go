package channels_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/race"
	"github.com/mycelium-rt/mycelium/wire"
)

// newRealtimeCrowd is newCrowd for Supabase's clients, which send kind 3 and get kind 4.
func newRealtimeCrowd(t testing.TB, o channels.Options, receivers int) *crowd {
	t.Helper()
	c := newCrowd(t, serve(t, o, channels.SocketOptions{Dialect: wire.Realtime}, relaying()), receivers)
	topic := fmt.Sprintf("relay:%d", receivers)
	body := `{"body":"hello"}`
	message := append([]byte{3, 1, 0, byte(len(topic)), byte(len("msg")), 0, 1}, "1"+topic+"msg"+body...)
	c.frame = masked(true, ws.OpBinary, string(message))
	c.reply = 2 + 5 + len(topic+"msg"+body)
	return c
}

// TestAllocationsOfUserBroadcasts: a broadcast of kind 3 allocates nothing for each of those who get kind 4.
func TestAllocationsOfUserBroadcasts(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	o := channels.Options{Loops: 2}
	alone := newRealtimeCrowd(t, o, 1).mallocs(t, 4000)
	many := newRealtimeCrowd(t, o, 40).mallocs(t, 1000)
	perDelivery := (many - alone) / 39
	t.Logf("%.2f allocations a message in, %.3f a delivery", alone, perDelivery)
	if alone > 2.1 {
		t.Errorf("%.2f allocations per relayed message in, at most 2 are allowed, as for text", alone)
	}
	if perDelivery > 0.02 {
		t.Errorf("%.3f allocations per delivery, none is allowed", perDelivery)
	}
}

// BenchmarkUserBroadcast compares the fan-out of kind 4 to 500 clients with that of text of version 2, on two servers in
// turns, by the processor time of server and clients.
func BenchmarkUserBroadcast(b *testing.B) {
	o := channels.Options{Loops: 1}
	text := newCrowd(b, serve(b, o, channels.SocketOptions{}, relaying()), 500)
	kind4 := newRealtimeCrowd(b, o, 500)
	turn := func(c *crowd) float64 {
		start := processorTime(b)
		c.send(b, 20)
		return float64(processorTime(b) - start)
	}
	for range 3 {
		turn(text)
		turn(kind4)
	}
	var ratios []float64
	for b.Loop() {
		ratios = append(ratios, turn(kind4)/turn(text))
		ratios = append(ratios, 1/(turn(text)/turn(kind4))) // the other way round
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "kind4/text")
}
