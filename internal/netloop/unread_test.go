package netloop

import "testing"

// epoll reports bytes once. What the loop did not read then is read all the same: more than one recv takes, and the end
// of the stream behind the bytes.
func TestUnreadRest(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		connect(t, g, &hooks{open: func(c *Conn) { c.SetTenant(g.NewTenant()) }}) // so that a recv takes less
		const size = 2*scratchSize/sharedReads + 1
		got, whole, reason := 0, make(chan struct{}, 2), make(chan error, 1)
		c, peer := connect(t, g, &hooks{
			open: func(c *Conn) { c.SetTenant(g.NewTenant()) },
			data: func(_ *Conn, data []byte) {
				if got += len(data); got%size == 0 {
					whole <- struct{}{}
				}
			},
			close: func(_ *Conn, err error) { reason <- err },
		})
		write := func() {
			if _, err := peer.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		open := gated(t, c.Loop())
		write()
		open()
		receive(t, "all bytes", whole)
		open = gated(t, c.Loop())
		write()
		peer.CloseWrite()
		open()
		receive(t, "all bytes", whole)
		if err := receive(t, "HandleClose", reason); err != ErrPeerClosed {
			t.Errorf("%v, want %v", err, ErrPeerClosed)
		}
	})
}

// A connection that was put off before its tenant became overloaded is read when the overload is over.
func TestPutOffInOverload(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.options.Portable {
			t.Skip("portable connections are never put off")
		}
		g := newGroup(t, w.with(Options{Loops: 1}))
		got := make(chan string, 1)
		c, peer := connect(t, g, &hooks{data: func(_ *Conn, data []byte) { got <- string(data) }})
		on(t, c, func() {
			c.lane.putOff(c)
			g.Lobby().overloaded()
		})
		eventually(t, "parked", func() (parked bool) {
			on(t, c, func() { parked = len(c.lane.parked) == 1 })
			return parked
		})
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		g.Lobby().calmed()
		if s := receive(t, "HandleData", got); s != "x" {
			t.Errorf("%q", s)
		}
	})
}

// A connection that always has more to read has its lane in line once, however long that lasts: the loop visits all that
// are in line in each turn.
func TestBusyReaderIsInLineOnce(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.options.Portable {
			t.Skip("portable connections are not put off")
		}
		g := newGroup(t, w.with(Options{Loops: 1}))
		const size = 16 << 20
		read, most, enough := 0, 0, make(chan struct{})
		conn, peer := connect(t, g, &hooks{data: func(c *Conn, data []byte) {
			most = max(most, c.Loop().unread.n)
			if before := read; before < size {
				if read += len(data); read >= size {
					close(enough)
				}
			}
		}})
		go func() {
			chunk := make([]byte, 1<<20)
			for {
				if _, err := peer.Write(chunk); err != nil {
					return
				}
			}
		}()
		receive(t, "16 MiB", enough)
		peer.Close()
		on(t, conn, func() {
			if most > 1 {
				t.Errorf("the lane was in line %d times", most)
			}
		})
	})
}
