package channels

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// Listen begins to serve a TCP address (":4000", "127.0.0.1:0") and returns
// what it listens on.
func (e *Endpoint) Listen(addr string) (net.Addr, error) {
	if e.host != nil {
		return nil, errGuestListens
	}
	return e.listen(e.loops.Listen(addr, e.newFront))
}

// Serve begins to serve a listener, which the endpoint then owns.
func (e *Endpoint) Serve(l net.Listener) (net.Addr, error) {
	if e.host != nil {
		l.Close() // the endpoint owns it
		return nil, errGuestListens
	}
	return e.listen(e.loops.Serve(l, e.newFront))
}

func (e *Endpoint) listen(l *netloop.Listener, err error) (net.Addr, error) {
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		l.Close() // it has served nobody
		return nil, errNotServing
	}
	e.listeners = append(e.listeners, l)
	return l.Addr(), nil
}

func (e *Endpoint) newFront(peer netip.AddrPort) netloop.Handler {
	return &front{endpoint: e, peer: peer}
}

// Drain paces a shutdown: all clients come back at once, to another node or
// to this one's successor, and reconnecting costs more than being connected.
type Drain struct {
	// Batch is how many sockets are closed every Interval. Defaults 10,000 and
	// 2 s, as in Phoenix (lib/phoenix/socket/pool_supervisor.ex).
	Batch    int
	Interval time.Duration
	// Timeout bounds the whole shutdown where ListenAndServe does it. Default 30 s.
	Timeout time.Duration
	// NoCloseFrame drops the connections instead of closing them with 1012.
	// Swift clients take every Close frame for the end and never reconnect.
	NoCloseFrame bool
}

var defaultDrain = Drain{Batch: 10_000, Interval: 2 * time.Second, Timeout: 30 * time.Second}

// Shutdown stops listening, closes the sockets in batches with code 1012, lets
// requests of net/http end, waits for the callbacks of the channels that ended,
// and stops the loops. When ctx is done first, what is left is cut off and
// ctx's error returned. It may be called once more, to no effect.
//
// The guests of an endpoint are shut down with it. A guest's Shutdown leaves
// loops, listeners and net/http to its host, and what several close at once
// keeps together to the pace of the host's Drain.
func (e *Endpoint) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if e.draining {
		e.mu.Unlock()
		select {
		case <-e.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.draining = true
	listeners := e.listeners
	e.mu.Unlock()
	for _, l := range listeners {
		l.Close() // nothing could be done about it
	}
	err := e.shutdownGuests(ctx)
	if drainErr := e.drain(ctx); drainErr != nil {
		err = drainErr
	}
	e.cutOff()
	if e.host == nil {
		if httpErr := e.fallback.shutdown(ctx); httpErr != nil {
			err = httpErr
		}
	}
	if waitErr := await(ctx, &e.callbacks); waitErr != nil {
		err = waitErr
	}
	e.pubsub.Close() // a bus that cannot be closed is closed with the process
	if e.host == nil {
		e.loops.Close() // cannot fail but for a second call
	} else {
		e.moveOut()
	}
	e.log.Flush()
	if e.options.Logger == nil {
		logging.FlushStderr(flushTimeout)
	}
	close(e.stopped)
	return err
}

// shutdownGuests shuts down what no Shutdown of its own has ended, side by side.
func (e *Endpoint) shutdownGuests(ctx context.Context) error {
	e.mu.RLock()
	guests := slices.Collect(maps.Keys(e.guests))
	e.mu.RUnlock()
	errs := make([]error, len(guests))
	var wg sync.WaitGroup
	for i, g := range guests {
		wg.Go(func() { errs[i] = g.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// drain closes the sockets batch by batch, and waits until their connections
// are gone.
func (e *Endpoint) drain(ctx context.Context) error {
	d, host := e.options.Drain, e
	if e.host != nil {
		host = e.host
	}
	for e.counters.sockets.Load() > 0 {
		if n := host.pace.take(time.Now(), host.options.Drain, max(1, d.Batch)); n > 0 {
			left := e.closeBatch(n)
			if left == 0 {
				break
			}
		}
		if err := sleep(ctx, d.Interval); err != nil {
			return err
		}
	}
	return await(ctx, &e.connections) // until the Close frames are written and answered
}

// closeBatch closes up to n sockets, the same share on each loop, and returns
// how many are left.
func (e *Endpoint) closeBatch(n int) (left int) {
	loops := e.loops.Loops()
	share := (n + len(loops) - 1) / len(loops)
	counts := make([]int, len(loops))
	var wg sync.WaitGroup
	for i := range loops {
		wg.Go(func() {
			e.onLoop(i, func() {
				sockets := slices.Clone(e.perLoop[i].sockets)
				for _, s := range sockets[:min(share, len(sockets))] {
					e.closeForRestart(s)
				}
				counts[i] = len(e.perLoop[i].sockets)
			})
		})
	}
	wg.Wait()
	for _, c := range counts {
		left += c
	}
	return left
}

// pacer deals out how many sockets may be closed, to an endpoint and all its
// guests together.
type pacer struct {
	mu    sync.Mutex
	since time.Time // the beginning of the interval
	used  int       // in it
}

// take grants up to n closes at the pace of d.
func (p *pacer) take(now time.Time, d Drain, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.since) >= d.Interval {
		p.since, p.used = now, 0
	}
	n = min(n, max(1, d.Batch)-p.used)
	p.used += max(0, n)
	return n
}

func (e *Endpoint) closeForRestart(s *Socket) {
	if e.options.Drain.NoCloseFrame {
		s.transport.drop()
		return
	}
	s.transport.close(closeRestart, "")
}

// await waits until a count is zero. It looks now and then, because nothing on
// the way of a frame should pay for a shutdown.
func await(ctx context.Context, count *atomic.Int64) error {
	for count.Load() > 0 {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// flushTimeout bounds the wait for a standard error that blocks.
const flushTimeout = 100 * time.Millisecond

func (e *Endpoint) isDraining() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.draining
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
