package netloop

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// handshakes limits the TLS handshakes of a group. No more of them compute at a time than there are loops; handshakes
// that wait for their peer do not count. Each computes for some hundred microseconds, and if thousands of goroutines did
// so at once, a loop would wait for seconds until it could run.
type handshakes struct {
	tokens  chan struct{} // holds one element for each handshake that computes
	waiting atomic.Int64  // handshakes that are ready to compute
	cost    atomic.Int64  // moving average of the time that a handshake computes, in nanoseconds
}

func newHandshakes(most int) *handshakes { return &handshakes{tokens: make(chan struct{}, most)} }

// delay estimates how long a new handshake would wait.
func (h *handshakes) delay() time.Duration {
	return time.Duration(h.waiting.Load() * h.cost.Load() / int64(cap(h.tokens)))
}

// begin waits until the handshake of t may compute. The caller calls end when the handshake is over. begin does nothing
// unless the connection is over a [Wire].
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

// note adds a handshake to the average.
func (h *handshakes) note(took time.Duration) {
	was := h.cost.Load()
	if was == 0 {
		was = int64(took)
	}
	h.cost.Store(was + (int64(took)-was)/16) // a concurrent update may be lost
}

// handshakeTurn is the state of one handshake. It belongs to its goroutine.
type handshakeTurn struct {
	*handshakes
	since time.Time
	took  time.Duration // time spent computing
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
