package netloop

import (
	"net/netip"
	"runtime"
	"time"
)

// Policy is what happens to a frame that does not fit into a connection's outgoing queue.
type Policy uint8

const (
	// CloseSlow closes the connection with ErrSlowReceiver.
	CloseSlow Policy = iota
	// DropOldest drops the longest waiting frames until the new one fits. A frame that is partly written stays.
	DropOldest
	// DropNewest drops the new frame.
	DropNewest
)

// IOUring is whether loops with epoll send through io_uring, with few system calls a turn instead of one for each
// receiver.
type IOUring uint8

const (
	// IOUringAuto uses it where the system allows it: Linux from 5.19 on, and not in most containers.
	IOUringAuto IOUring = iota
	// IOUringOff does not use it.
	IOUringOff
	// IOUringOn makes [New] fail if it cannot be used.
	IOUringOn
)

// Options of a [Group]. The zero value is usable.
type Options struct {
	// Loops is the number of loops; 0 is GOMAXPROCS.
	Loops int
	// Portable uses net.Conn even where epoll is available.
	Portable bool
	// IOUring is whether to send through io_uring. Portable connections never do.
	IOUring IOUring
	// Tick is the resolution of deadlines; 0 is 100 ms. A deadline is rounded up to whole ticks; it fires at most one
	// tick late and never early.
	Tick time.Duration
	// OutboundLimit bounds the bytes that wait for one connection; 0 is 1 MiB. If nothing else waits, a frame is
	// accepted however large it is, because otherwise it could never be sent.
	OutboundLimit int
	// SendBuffer is the SO_SNDBUF of connections: what the kernel keeps for a peer that does not read, before anything
	// waits here. Linux doubles it for its own needs, and limits it to net.core.wmem_max. 0 leaves it to the kernel,
	// which keeps up to net.ipv4.tcp_wmem, 4 MiB on most systems.
	SendBuffer int
	// Overflow is the policy when OutboundLimit is reached and the socket takes no more.
	Overflow Policy
	// HighWater is the number of tasks in one lane's inbox above which its tenant counts as overloaded; 0 is 65,536.
	// It is calm again when that inbox is down to half of it.
	HighWater int
	// PeerTimeout is how long a peer may leave data or keepalive probes unanswered (TCP_USER_TIMEOUT and keepalive);
	// 0 is 60 s. It finds peers that vanished without a FIN.
	PeerTimeout time.Duration
	// Handshakes is how many TLS handshakes compute at a time; 0 is Loops. Negative: any number.
	Handshakes int
	// OnError is called with errors that concern no single connection, such as a lack of descriptors, once per episode.
	// It is called on a loop or an accepting goroutine and must not block. Nil ignores them.
	OnError func(error)
	// OnHandshake is called with the peer and the error of a TLS handshake that has failed, on the goroutine of that
	// handshake. Nil ignores them.
	OnHandshake func(netip.AddrPort, error)

	// batchFrom is how many connections must be waiting to be written for a batch to pay off; 0 is the default.
	batchFrom int
}

// Limits that are not options.
const (
	// alertGrace and alertBytes bound what a peer may still send after a TLS handshake that has failed, so that it can
	// read why.
	alertGrace = time.Second
	alertBytes = 64 << 10
	// scratchSize is the size of a loop's read buffer and of the buffer in which frames are joined, in bytes. 64 KiB
	// takes what a client sends at once in one call; a larger buffer only evicts the cache.
	scratchSize = 64 << 10
	// streamBuffer is the read buffer of a portable connection, in bytes. It is held while the connection is idle.
	streamBuffer = 4 << 10
	// flushChunk is how many connections are written before the loop looks at its sockets and inbox again: about 0.6 ms
	// at 9 µs a write, measured on loopback. Looking costs two system calls, 0.3 % of that. It bounds how long others
	// wait behind a saturating fan-out.
	flushChunk = 64
	// promptChunk is the same for what small tasks and events queue.
	promptChunk = 2 * promptBurst
	// promptBurst is how many frames a task or event may queue and still be written before larger ones. A reply queues
	// one, a fan-out to a crowd many; 64 writes take half a millisecond.
	promptBurst = 64
	// batchSize is the most sends of one io_uring_enter, which keeps the processor from everything else, the garbage
	// collector included, for about 7 µs a send. Of the CPU time of plain sends a delivery costs 0.87 with 16, 0.75
	// with 32, 0.73 with 64 and 0.67 with 128, but with 128 more of it goes to ksoftirqd, whose time is not the
	// process's.
	batchSize = 64
	// batchScratch is the size of the buffer for the joined frames of a batch, in bytes.
	batchScratch = 4 * scratchSize
	// batchFromDefault is the smallest batch.
	batchFromDefault = 4
	// maxTasks is how many tasks one turn runs, and maxSends how many frames they may queue in it. maxSends/flushChunk
	// is how many frames a receiver can get per write when publications come faster than they can be written. With 16
	// publications to 10,000 outstanding a delivery costs 1.05 µs; with a quarter of that quotient it was 1.53, because
	// writing began before the others were queued.
	maxTasks = 1024
	maxSends = 256 * flushChunk
	// reapChunk is how many closed connections are reported in one turn.
	reapChunk = 1024
	// acceptMost is how many connections are accepted for one event of a listener. The kernel keeps net.core.somaxconn of
	// them, and makes those beyond that try again after a second. After each acceptChunk the time is looked at.
	acceptMost  = 512
	acceptChunk = 64
	// handfulMost bounds Group.handful, so that a burst of connections does not delay one loop.
	handfulMost = 64
	// acceptPause is how long accepting is paused when the process has no descriptors left.
	acceptPause = 200 * time.Millisecond
	// acceptReport is the least time between two reports of that.
	acceptReport = 10 * time.Second
	// handshakeTimeout bounds a TLS handshake.
	handshakeTimeout = 10 * time.Second
	// lingerDefault is CloseAfterFlush's time limit when the caller gives none.
	lingerDefault = 5 * time.Second
	// anyHandshakes is more TLS handshakes than ever compute at a time.
	anyHandshakes = 1 << 20
	// maxOutbound keeps queued bytes within 32 bits.
	maxOutbound = 1 << 30
)

func (o Options) withDefaults() Options {
	if o.Loops <= 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Handshakes == 0:
		o.Handshakes = o.Loops
	case o.Handshakes < 0:
		o.Handshakes = anyHandshakes
	}
	if o.Tick <= 0 {
		o.Tick = 100 * time.Millisecond
	}
	if o.OutboundLimit <= 0 {
		o.OutboundLimit = 1 << 20
	}
	o.OutboundLimit = min(o.OutboundLimit, maxOutbound)
	if o.HighWater <= 0 {
		o.HighWater = 65536
	}
	if o.PeerTimeout <= 0 {
		o.PeerTimeout = 60 * time.Second
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.batchFrom <= 0 {
		o.batchFrom = batchFromDefault
	}
	o.Portable = o.Portable || runtime.GOOS != "linux"
	return o
}
