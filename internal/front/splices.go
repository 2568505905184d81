package front

import (
	"context"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// maxDials bounds the dials to other nodes that are in progress. A client above that is
// told to try again.
const maxDials = 1024

// splices are the clients' connections that a front forwards to other nodes. Its
// methods are safe from any goroutine.
type splices struct {
	// Static after construction.
	gate    *admission.Gate
	log     *logging.Log
	loops   *netloop.Group
	dialing chan struct{} // has a token for each dial
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup // dials

	// Guarded by mu.
	mu     sync.Mutex
	tenant *netloop.Tenant  // of all splices; nil until the first
	closed bool             // no more begin
	open   map[*splice]bool // whether it is being ended
}

func newSplices(o *Options) *splices {
	s := &splices{gate: o.Gate, log: o.Log, loops: o.Loops, dialing: make(chan struct{}, maxDials), open: make(map[*splice]bool)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// begin connects to the node that serves the client of c; first is sent to it first.
func (s *splices) begin(a *arrival, c *netloop.Conn, to *forward.Elsewhere, first []byte) *admission.Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.dialing <- struct{}{}:
	default:
		return admission.Unavailable(time.Second)
	}
	if s.closed {
		<-s.dialing
		return admission.Unavailable(2 * time.Second)
	}
	if s.tenant == nil {
		s.tenant = s.loops.NewTenant()
	}
	one := &splice{splices: s, tenant: s.tenant, loop: c.Loop(), arrival: a, to: to, first: first, tcp: a.tcp}
	one.client, one.node = clientEnd{one, c}, nodeEnd{splice: one}
	s.work.Go(func() {
		defer func() { <-s.dialing }()
		one.dial()
	})
	return nil
}

func (s *splices) add(one *splice) {
	s.gate.AddSockets(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[one] = false
}

func (s *splices) remove(one *splice) {
	s.gate.AddSockets(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

func (s *splices) reportFailure(to *forward.Elsewhere, err error) {
	s.log.Warn("connection not forwarded").Err(err).Str("node", to.Name()).Write()
}

// stopDialing cancels the dials in progress, and lets no more begin.
func (s *splices) stopDialing() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
}

// EndForwarded ends up to n of the connections that other nodes serve, as part of a
// shutdown. It returns how many it has ended, and how many there still are, including
// those that have yet to close.
func (f *Front) EndForwarded(n int) (ended, left int) {
	s := f.splices
	s.mu.Lock()
	defer s.mu.Unlock()
	for one, ending := range s.open {
		if ended == n {
			break
		}
		if !ending {
			s.open[one] = true
			one.loop.Post(netloop.TaskFunc(one.end))
			ended++
		}
	}
	return ended, len(s.open)
}
