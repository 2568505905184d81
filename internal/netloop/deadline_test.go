package netloop

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that says nothing is told so within its deadline and one tick, whenever in a tick its last byte came; a
// deadline that is no whole number of ticks counts as the next one that is. It is never early.
func TestDeadlineWithinTick(t *testing.T) {
	const tick = 100 * time.Millisecond
	for _, deadline := range []time.Duration{tick, 250 * time.Millisecond, time.Second, 60 * time.Second, 200 * time.Second} {
		for _, after := range []time.Duration{0, 1, tick / 3, tick - 1, tick, 7*time.Second + tick/2, 59*time.Second + 999*time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				g, err := New(Options{Portable: true, Loops: 1, Tick: tick})
				if err != nil {
					t.Fatal(err)
				}
				defer g.Close()
				a, b := net.Pipe()
				defer b.Close()
				opened, read := make(chan *Conn, 1), make(chan bool, 1)
				fired := make(chan time.Time, 1)
				g.Adopt(a, nil, &hooks{
					open:    func(c *Conn) { opened <- c },
					data:    func(c *Conn, _ []byte) { c.SetDeadline(deadline); read <- true },
					timeout: func(*Conn) { fired <- time.Now() },
				})
				<-opened
				time.Sleep(after)
				b.Write([]byte("last"))
				last := time.Now()
				<-read
				whole := (deadline + tick - 1).Truncate(tick)
				if took := (<-fired).Sub(last); took < deadline || took > whole+tick {
					t.Errorf("a deadline of %v, set %v after the loop's start, was told after %v", deadline, after, took)
				}
			})
		}
	}
}

// The same for a connection whose bytes move its deadline on.
func TestDeadlineMovesWithinTick(t *testing.T) {
	const tick, deadline = 100 * time.Millisecond, 6 * time.Second
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Options{Portable: true, Loops: 1, Tick: tick})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		a, b := net.Pipe()
		defer b.Close()
		fired := make(chan time.Time, 1)
		g.Adopt(a, nil, &hooks{
			open:    func(c *Conn) { c.SetDeadline(deadline) },
			data:    func(*Conn, []byte) {},
			timeout: func(*Conn) { fired <- time.Now() },
		})
		for i := range 40 { // each a little later in a tick than the one before
			time.Sleep(3*time.Second + time.Duration(i)*7*time.Millisecond)
			b.Write([]byte("beat"))
		}
		last := time.Now()
		if took := (<-fired).Sub(last); took < deadline || took > deadline+tick {
			t.Errorf("told after %v, want %v to %v", took, deadline, deadline+tick)
		}
	})
}

// A pause in reading is not the peer's silence: the deadline counts from its end.
func TestDeadlineAfterPause(t *testing.T) {
	const tick, deadline = 100 * time.Millisecond, time.Second
	for name, pause := range map[string]func(c *Conn) (resume func()){
		"by the handler": func(c *Conn) func() { c.PauseRead(); return c.ResumeRead },
		"by overload":    func(c *Conn) func() { c.lane.park(c); return c.lane.unpark },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, err := New(Options{Portable: true, Loops: 1, Tick: tick})
				if err != nil {
					t.Fatal(err)
				}
				defer g.Close()
				a, b := net.Pipe()
				defer b.Close()
				opened := make(chan *Conn, 1)
				fired := make(chan time.Time, 9)
				var resume func()
				g.Adopt(a, nil, &hooks{
					open: func(c *Conn) {
						c.SetDeadline(deadline)
						resume = pause(c)
						opened <- c
					},
					timeout: func(*Conn) { fired <- time.Now() },
				})
				c := <-opened
				time.Sleep(deadline * 9 / 10)
				on(t, c, func() { resume() })
				resumed := time.Now()
				if took := (<-fired).Sub(resumed); took < deadline || took > deadline+2*tick {
					t.Errorf("told %v after the pause, want %v", took, deadline)
				}
			})
		})
	}
}

// While an overload keeps a connection from being read, it is not called silent.
func TestDeadlineInOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Options{Portable: true, Loops: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		a, b := net.Pipe()
		defer b.Close()
		opened := make(chan *Conn, 1)
		silent := make(chan bool, 9)
		g.Adopt(a, nil, &hooks{
			open:    func(c *Conn) { c.SetDeadline(time.Second); c.lane.park(c); opened <- c },
			timeout: func(*Conn) { silent <- true },
		})
		c := <-opened
		time.Sleep(10 * time.Second)
		if len(silent) > 0 {
			t.Error("a connection that is not read was called silent")
		}
		on(t, c, c.lane.unpark)
		<-silent
	})
}

// The last frame is written even if the loop had no time to do so within the time that
// CloseAfterFlush was given.
func TestLateFlush(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		const tick = 5 * time.Millisecond
		g := newGroup(t, w.with(Options{Loops: 1, Tick: tick}))
		_, peer := connect(t, g, &hooks{data: func(c *Conn, data []byte) {
			echo(c, data)
			c.CloseAfterFlush(ErrClosed, tick)
			time.Sleep(10 * tick)
		}})
		if _, err := io.WriteString(peer, "last"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); err != nil || string(got) != "last" {
			t.Errorf("the peer reads %q, %v", got, err)
		}
	})
}
