package netloop

import (
	"net"
	"testing"
)

// carriedBy is for Conn.via.
func carriedBy(c carrier) *carrier { return &c }

// order is a carrier that notes which connections are written, and when.
type order struct {
	*stream // never called: the rest of a carrier
	written []*Conn
}

func (o *order) flush(c *Conn) {
	o.written = append(o.written, c)
	c.out.clear(c.Loop())
}

func (o *order) interest(*Conn) {}
func (o *order) close(*Conn)    {}

func (o *order) detach(*Conn) (net.Conn, error) { return nil, ErrReading }

// A reply does not wait behind a fan-out that was queued before it, whether its connection gets the fan-out too or not,
// and everything is written once.
func TestReplyBesideFanOut(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		l := g.Loops()[0]
		const crowd = 4 * flushChunk
		o := &order{}
		conns := make([]*Conn, crowd+1)
		for i := range conns {
			conns[i] = &Conn{lane: l.lobby, via: carriedBy(o), handler: &hooks{}, state: stateOpen, fd: -1}
		}
		member, outsider := conns[crowd-1], conns[crowd]
		f := frameOf([]byte("to all"))
		send := func(to ...*Conn) TaskFunc {
			return func() {
				f.Retain(int32(len(to)))
				for _, c := range to {
					c.Send(f)
				}
			}
		}
		l.Post(TaskFunc(func() { // so that one turn takes them all
			l.Post(send(conns[:crowd]...))
			l.Post(send(outsider))
			l.Post(send(member))
			l.Post(TaskFunc(f.Release))
		}))
		done := make(chan []*Conn, 1)
		eventually(t, "all written", func() bool {
			l.Post(TaskFunc(func() {
				if len(o.written) > 0 && l.prompt.n+l.dirty.n == 0 {
					select {
					case done <- o.written:
					default:
					}
				}
			}))
			return len(done) > 0
		})
		written := <-done
		if len(written) != len(conns) {
			t.Errorf("%d writes for %d connections", len(written), len(conns))
		}
		at := map[*Conn]int{}
		for i, c := range written {
			at[c] = i
		}
		if at[outsider] > promptBurst || at[member] > promptBurst+1 {
			t.Errorf("written behind %d and %d others", at[outsider], at[member])
		}
		if LiveFrames() != 0 {
			t.Errorf("%d frames left", LiveFrames())
		}
	})
}
