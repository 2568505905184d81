package channels

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// Drain paces a shutdown. All clients reconnect, to another node or to a
// successor, and connecting costs more than being connected.
type Drain struct {
	// Batch is how many sockets are closed in each Interval, on all loops and
	// of an endpoint and its guests together. Defaults 10,000 and 2 s, as in
	// Phoenix (lib/phoenix/socket/pool_supervisor.ex). A large batch is closed
	// over the whole interval rather than in one moment.
	Batch    int
	Interval time.Duration
	// Timeout bounds a shutdown by ListenAndServe. Default 30 s.
	Timeout time.Duration
	// NoCloseFrame closes connections without a Close frame, instead of with
	// 1012. Swift clients take a Close frame for the end and do not reconnect.
	NoCloseFrame bool
}

var defaultDrain = Drain{Batch: 10_000, Interval: 2 * time.Second, Timeout: 30 * time.Second}

// drain closes the sockets batch by batch, and waits until their connections
// are gone.
func (e *Endpoint) drain(ctx context.Context) error {
	host := e
	if e.host != nil {
		host = e.host
	}
	for {
		pace := host.options.Drain.among(host.drainingNodes()).spread()
		open := int(e.counters.sockets.Load())
		if open == 0 {
			break
		}
		n, next := host.pace.takeCloses(time.Now(), pace, min(open, max(1, e.options.Drain.Batch)))
		if n > 0 {
			closed, left := e.closeBatch(ctx, n)
			host.pace.giveBack(n - closed)
			if left == 0 {
				break
			}
		}
		if err := sleep(ctx, next); err != nil {
			return err
		}
	}
	return await(ctx, &e.connections) // until the Close frames are written and answered
}

// drainingNodes returns how many nodes share the pace.
func (e *Endpoint) drainingNodes() int {
	if e.options.DrainingNodes == nil {
		return 1
	}
	return max(1, e.options.DrainingNodes())
}

// among returns the pace of each of several nodes that close d.Batch sockets in
// each d.Interval together. If d.Batch is smaller than the number of nodes,
// each closes one socket at a time, less often.
func (d Drain) among(nodes int) Drain {
	whole := max(1, d.Batch)
	d.Batch = max(1, whole/nodes)
	d.Interval = d.Interval * time.Duration(nodes*d.Batch) / time.Duration(whole)
	return d
}

const (
	// drainStep is the least time between two parts of a batch.
	drainStep = 50 * time.Millisecond
	// drainPart is the smallest part of a batch. So many clients may come back
	// in one moment.
	drainPart = 100
)

// spread returns the same pace in smaller steps: the clients of a batch that is closed in
// one moment all come back in one moment.
func (d Drain) spread() Drain {
	steps := min(d.Batch/drainPart, int(d.Interval/drainStep))
	if steps <= 1 {
		return d
	}
	whole := d.Batch
	d.Batch = whole / steps
	d.Interval = time.Duration(float64(d.Interval) * float64(d.Batch) / float64(whole))
	return d
}

// closeBatch closes up to n sockets, evenly on all loops, and returns how many
// it has closed and how many are left. A loop that has not answered when ctx is
// done is not counted.
func (e *Endpoint) closeBatch(ctx context.Context, n int) (closed, left int) {
	open := make([]atomic.Int64, len(e.perLoop)) // atomic, for a loop that answers late
	e.onEachLoop(ctx, func(i int) { open[i].Store(int64(len(e.perLoop[i].sockets))) })
	counts := make([]int, len(open))
	for i := range open {
		counts[i] = int(open[i].Load())
	}
	quotas := allot(n, counts)
	var done, still atomic.Int64
	e.onEachLoop(ctx, func(i int) {
		sockets := slices.Clone(e.perLoop[i].sockets)
		sockets = sockets[:min(quotas[i], len(sockets))]
		callback.Each(sockets, e.closeForRestart)
		done.Add(int64(len(sockets)))
		still.Add(int64(len(e.perLoop[i].sockets)))
	})
	return int(done.Load()), int(still.Load())
}

// cutOff ends the remaining sockets of a shutdown that ran out of time. A loop
// closes its connections when it ends, but knows neither long-poll sessions nor
// which connections belong to a guest.
func (e *Endpoint) cutOff() {
	ctx, cancel := context.WithTimeout(context.Background(), cutOffTime/2)
	defer cancel()
	e.onEachLoop(ctx, func(i int) {
		callback.Each(slices.Clone(e.perLoop[i].sockets), func(s *Socket) { s.transport.drop() })
	})
}

// onEachLoop runs f on every loop concurrently, and waits until all calls have
// returned or ctx is done. It must not be called on a loop.
func (e *Endpoint) onEachLoop(ctx context.Context, f func(i int)) {
	within(ctx, func() {
		var wg sync.WaitGroup
		for i := range e.perLoop {
			wg.Go(func() { e.onLoop(i, func() { f(i) }) })
		}
		wg.Wait()
	})
}

// allot divides n as evenly as counts allow. The sum of the quotas is n, or the
// sum of counts if that is less.
func allot(n int, counts []int) (quotas []int) {
	quotas = make([]int, len(counts))
	for n > 0 {
		wanting := 0
		for i, count := range counts {
			if quotas[i] < count {
				wanting++
			}
		}
		if wanting == 0 {
			break
		}
		share := max(1, n/wanting)
		for i, count := range counts {
			more := min(share, count-quotas[i], n)
			quotas[i] += more
			n -= more
		}
	}
	return quotas
}

// pacer grants closes of sockets to an endpoint and all its guests together.
type pacer struct {
	mu    sync.Mutex
	since time.Time // the beginning of the interval; guarded by mu
	used  int       // closes granted in it; guarded by mu
}

// takeCloses grants up to n closes at the pace of d, and returns how long to
// wait for the next ones.
func (p *pacer) takeCloses(now time.Time, d Drain, n int) (granted int, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.since) >= d.Interval {
		p.since, p.used = now, 0
	}
	granted = max(0, min(n, max(1, d.Batch)-p.used))
	p.used += granted
	return granted, d.Interval - now.Sub(p.since)
}

// giveBack returns unused grants.
func (p *pacer) giveBack(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = max(0, p.used-n)
}

func (e *Endpoint) closeForRestart(s *Socket) {
	if e.options.Drain.NoCloseFrame {
		s.transport.drop()
		return
	}
	s.transport.close(closeRestart, "")
}
