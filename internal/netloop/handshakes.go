package netloop

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// handshakes are the TLS handshakes of a group. No more of them compute at a time than there are loops; those that wait
// for their peer do not count. Each takes some hundred microseconds, and if thousands of goroutines compute, a loop
// waits for seconds until a processor is its own again.
type handshakes struct {
	tokens  chan struct{} // one for each that computes
	waiting atomic.Int64  // those that could compute
	cost    atomic.Int64  // of a handshake, in nanoseconds: a moving average
}

func newHandshakes(most int) *handshakes { return &handshakes{tokens: make(chan struct{}, most)} }

// delay returns how long a handshake that came now would have to wait.
func (h *handshakes) delay() time.Duration {
	return time.Duration(h.waiting.Load() * h.cost.Load() / int64(cap(h.tokens)))
}

// begin waits until the handshake of t may compute. end must be called when it is over. It does nothing for a
// connection that is not over a [Wire].
func (h *handshakes) begin(t *tls.Conn) (end func()) {
	w, ok := t.NetConn().(*Wire)
	if !ok {
		return func() {}
	}
	turn := &handshakeTurn{handshakes: h}
	turn.take()
	w.turn = turn
	return func() {
		w.turn = nil
		turn.giveBack()
		h.note(turn.took)
	}
}

// note counts a handshake in the average.
func (h *handshakes) note(took time.Duration) {
	was := h.cost.Load()
	if was == 0 {
		was = int64(took)
	}
	h.cost.Store(was + (int64(took)-was)/16) // another may be lost
}

// handshakeTurn is the part of one handshake. It belongs to its goroutine.
type handshakeTurn struct {
	*handshakes
	since time.Time
	took  time.Duration // while it computed
}

func (t *handshakeTurn) take() {
	t.waiting.Add(1)
	t.tokens <- struct{}{}
	t.waiting.Add(-1)
	t.since = time.Now()
}

func (t *handshakeTurn) giveBack() {
	t.took += time.Since(t.since)
	<-t.tokens
}
