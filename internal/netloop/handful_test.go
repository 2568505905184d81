package netloop

import (
	"net/netip"
	"testing"
)

// Few connections are dealt out one by one, many by the handful, and no loop has many more than another.
func TestLoopsShareConnections(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2}))
		opened := make(chan *Loop)
		addr := listen(t, g, func(netip.AddrPort) Handler {
			return &hooks{open: func(c *Conn) { opened <- c.Loop() }}
		})
		const conns = 600
		var has [2]int
		var before *Loop
		inARow, most := 0, 0
		for n := range conns {
			c := dial(t, addr)
			t.Cleanup(func() { c.Close() })
			l := receive(t, "a connection", opened)
			has[l.Index()]++
			if l != before {
				before, inARow = l, 0
			}
			inARow++
			most = max(most, inARow)
			if d := has[0] - has[1]; max(d, -d) > 1+n/32 {
				t.Fatalf("one loop has %d connections, the other %d", has[0], has[1])
			}
		}
		if raw := !w.options.Portable; raw != (most > 10) || most > handfulMost {
			t.Errorf("%d connections in a row went to one loop", most)
		}
	})
}
