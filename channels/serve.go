package channels

import (
	"context"
	"errors"
	"maps"
	"net"
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
	return served(e.front.Listen(addr))
}

// Serve begins to serve a listener, which the endpoint then owns.
func (e *Endpoint) Serve(l net.Listener) (net.Addr, error) {
	if e.host != nil {
		l.Close() // the endpoint owns it
		return nil, errGuestListens
	}
	return served(e.front.Serve(l))
}

// served replaces the error of a front whose endpoint has been shut down.
func served(addr net.Addr, err error) (net.Addr, error) {
	if errors.Is(err, netloop.ErrClosed) {
		return nil, errNotServing
	}
	return addr, err
}

// errNotServing is what Listen and Serve answer from Shutdown on.
var errNotServing = errors.New("channels: the endpoint has been shut down and cannot serve again: make another with NewEndpoint")

// Shutdown stops listening, closes the sockets in batches with code 1012, lets
// requests of net/http end, waits for the callbacks of the channels that ended,
// and stops the loops. When ctx is done first, what is left is cut off and
// ctx's error returned. It may be called once more, to no effect.
//
// It keeps the deadline of ctx, whatever blocks: of the time until then the last
// tenth, a second at most, is for cutting off. What a callback that does not
// return holds, its loop for example, ends when it does return. Where ctx is
// cancelled, Shutdown returns a second later at the latest.
//
// The guests of an endpoint are shut down with it. A guest's Shutdown leaves
// loops, listeners and net/http to its host, and what several close at once
// keeps together to the pace of the host's Drain.
func (e *Endpoint) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	first := !e.isDraining()
	e.gate.Drain()
	e.mu.Unlock()
	if !first {
		select {
		case <-e.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ctx, cancel := beforeCutOff(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.shutdown(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(cutOffTime)
	defer patience.Stop()
	select {
	case err := <-ended:
		return err
	case <-patience.C:
		e.log.Error("shutdown: something that was called on a loop or in a bus does not return").Write()
		return ctx.Err()
	}
}

// cutOffTime is how long it may take to cut off what is left when the time of a
// shutdown is over: much more than it takes, unless something blocks.
const cutOffTime = time.Second

// beforeCutOff leaves room before the deadline of ctx.
func beforeCutOff(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(cutOffTime, time.Until(deadline)/10)))
}

// shutdown carries out Shutdown. It may hang where Shutdown does not.
func (e *Endpoint) shutdown(ctx context.Context) error {
	defer close(e.stopped)
	if e.host == nil {
		within(ctx, e.front.CloseListeners)
	}
	err := e.shutdownGuests(ctx)
	if drainErr := e.drain(ctx); drainErr != nil {
		err = drainErr
	}
	e.cutOff()
	if e.host == nil {
		if httpErr := e.front.Shutdown(ctx); httpErr != nil {
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
	return err
}

// within runs f and waits until it returns or ctx is done.
func within(ctx context.Context, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
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

func (e *Endpoint) isDraining() bool { return e.gate.Draining() }

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
