package netloop

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errIOUringOff is why loops have no io_uring that could.
var errIOUringOff = errors.New("netloop: io_uring is switched off")

// batch sends to many connections with one system call, through the loop's io_uring. Nothing else happens on the loop
// from the first add to the end of send, so every connection of a batch is still there, and its descriptor still its
// own, when the results are handled.
type batch struct {
	epoll *epoll
	ring  *uring
	sends []batched
	// joined holds frames that leave in one send, those of the whole batch; used is how much of it is taken.
	joined []byte
	used   int
}

// batched is one send of a batch, until its result was handled.
type batched struct {
	conn *Conn
	data []byte // also keeps it from the garbage collector, who cannot see what the ring refers to
}

// newBatch makes the batch of e's loop, unless the options forbid it. Where there is no io_uring, that is an error only
// for [IOUringOn].
func (e *epoll) newBatch() error {
	l := e.loop
	use := l.group.options.IOUring
	if use == IOUringOff {
		l.plain = errIOUringOff
		return nil
	}
	ring, err := newUring(batchSize)
	if err != nil && use == IOUringOn {
		return err
	}
	if l.plain = err; err == nil {
		l.batch = &batch{epoll: e, ring: ring, sends: make([]batched, 0, batchSize), joined: make([]byte, batchScratch)}
	}
	return nil
}

// add orders the next send to c.
func (b *batch) add(c *Conn) {
	if b.ring == nil || c.out.first == nil {
		b.epoll.flush(c) // the ring was given up, or the end of the stream is all that waits
		return
	}
	// A batch that is full goes first, one in which c's frames have no room to be joined too.
	if len(b.sends) == batchSize || c.out.joins() && len(b.joined)-b.used < min(c.out.next(), scratchSize) {
		b.send()
		b.add(c)
		return
	}
	end := min(b.used+scratchSize, len(b.joined))
	buf := c.out.gather(b.joined[b.used:end:end])
	if c.out.joins() {
		b.used = min(b.used+len(buf), len(b.joined))
	}
	b.ring.put(int(c.fd), buf, len(b.sends))
	b.sends = append(b.sends, batched{c, buf})
}

// send does what was ordered.
func (b *batch) send() {
	if len(b.sends) == 0 {
		return
	}
	taken, err := b.ring.submit(len(b.sends))
	b.ring.reap(b.sent)
	if err != nil {
		b.giveUp(taken, err)
	}
	b.sends, b.used = b.sends[:0], 0
}

// sent handles one result.
func (b *batch) sent(i, n int, errno unix.Errno) {
	s := b.sends[i]
	b.sends[i] = batched{}
	if b.epoll.wrote(s.conn, len(s.data), n, errno) {
		b.epoll.flush(s.conn)
	}
}

// giveUp leaves the loop with plain sends, and what is left of this batch with the first of them.
func (b *batch) giveUp(taken int, err error) {
	b.close()
	b.ring = nil
	l := b.epoll.loop
	l.batch = nil
	l.group.options.OnError(fmt.Errorf("netloop: io_uring fails, each send is a system call from now on: %w", err))
	for i, s := range b.sends {
		b.sends[i] = batched{}
		switch {
		case s.conn == nil:
		case i < taken:
			s.conn.Close(err) // nobody knows how much of it was sent
		default:
			b.epoll.flush(s.conn)
		}
	}
}

func (b *batch) close() { b.ring.close() }
