package channels

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// PulseEvery is pulseEvery.
const PulseEvery = pulseEvery

// MaxIdlePolls is maxIdlePolls.
const MaxIdlePolls = maxIdlePolls

// IdlePart is a row of the table of what an idle joined connection is made of:
// docs/performance.md, Memory.
type IdlePart struct {
	Name  string
	Bytes int
}

// IdleParts are the parts of a connection on epoll that has joined one channel,
// without id and assigns: as the allocator rounds them.
func IdleParts() []IdlePart {
	return []IdlePart{
		{"`netloop.Conn`: descriptor, handler, outgoing queue, deadline", allocated(unsafe.Sizeof(netloop.Conn{}))},
		{"its callback in easygo's epoll", allocated(2 * unsafe.Sizeof(uintptr(0)))},
		{"its entry in easygo's map of descriptors, 17 bytes in a map that is two thirds full", 17 * 3 / 2},
		{"`channels.websocketConn`, with", allocated(unsafe.Sizeof(websocketConn{}))},
		{"– `channels.Socket`: options, version, channels", int(unsafe.Sizeof(Socket{}))},
		{"– `websocket.Decoder`: the beginning of a message", int(unsafe.Sizeof(websocketConn{}.decoder))},
		{"`channels.Context`: topic, mailbox, state; with", allocated(unsafe.Sizeof(Context{}))},
		{"– `dispatch.Subscription`: its place in the topic", int(unsafe.Sizeof(dispatch.Subscription{}))},
		{"places in the loop's list of connections, the endpoint's list of sockets and the topic's list of subscribers",
			int(2*unsafe.Sizeof(uintptr(0)) + unsafe.Sizeof(dispatch.Subscriber(nil)))},
	}
}

// allocated rounds a size up as the allocator does.
func allocated(size uintptr) int { return cap(append([]byte(nil), make([]byte, size)...)) }

// SetPulse changes how often clients with a session acknowledge, and how long a half-open
// connection is kept. It is for an endpoint without sockets.
func (e *Endpoint) SetPulse(every time.Duration) {
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	e.pulse.every = every
}

// SetRejoinWait changes how long a join waits for a callback of the channel that it
// replaces, until the test ends. It is for tests that run alone.
func SetRejoinWait(t testing.TB, d time.Duration) {
	was := rejoinWait
	t.Cleanup(func() { rejoinWait = was })
	rejoinWait = d
}

// WaitingPolls returns how many polls of long-polling clients wait, including those of
// guests.
func (e *Endpoint) WaitingPolls(ctx context.Context) int {
	var n atomic.Int64
	e.onEachLoop(ctx, func(i int) { n.Add(int64(e.perLoop[i].polls.waiting)) })
	return int(n.Load())
}

// IdleRequests returns how many connections of net/http have no request now.
func (e *Endpoint) IdleRequests() int { return e.front.Idle() }

// Beat makes the pulse beat once, and returns when all loops have sent their probes.
func (e *Endpoint) Beat(ctx context.Context) {
	e.beat()
	for range 2 { // the task that continues a beat, and one behind it
		e.onEachLoop(ctx, func(int) {})
	}
}
