package netloop

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errIOUringOff is the reason reported by loops that could use io_uring but must not.
var errIOUringOff = errors.New("netloop: io_uring is switched off")

// batch sends to many connections with one system call, through the loop's io_uring. Nothing else happens on the loop
// between the first add and the end of send, so the connections and descriptors of a batch are still valid when its
// results are handled.
type batch struct {
	epoll *epoll
	ring  *uring
	sends []batched
	// joined is the buffer in which the frames of one send are joined, for the whole batch; used is how much of it is
	// filled.
	joined []byte
	used   int
}

// batched is one send of a batch, until its result has been handled.
type batched struct {
	conn *Conn
	data []byte // also keeps it alive: the garbage collector cannot see the ring's references
}

// newBatch makes the batch of e's loop, unless the options forbid it. A system without io_uring is an error only for
// [IOUringOn].
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

// add queues the next send to c.
func (b *batch) add(c *Conn) {
	if b.ring == nil || c.out.first == nil {
		b.epoll.flush(c) // the ring was given up, or only the end of the stream waits
		return
	}
	// Submit first if the batch is full, or has no room to join c's frames.
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

// send submits the queued sends and handles their results.
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

// giveUp switches the loop to plain sends, which also write what is left of this batch.
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
