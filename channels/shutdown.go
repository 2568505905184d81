package channels

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Shutdown stops listening, closes the sockets in batches with code 1012, waits for
// requests of net/http and for the callbacks of the channels that ended, and stops
// the loops. If ctx is done first, it cuts off what is left and returns ctx's error.
// Further calls only wait for the first.
//
// Shutdown keeps the deadline of ctx even if a callback blocks: it reserves the last
// tenth of the time, at most a second, for cutting off. A loop that is blocked by a
// callback ends when the callback returns. If ctx is canceled, Shutdown returns at
// most a second later.
//
// An endpoint's guests are shut down with it. A guest's Shutdown leaves loops,
// listeners and net/http to its host. Guests that shut down at the same time share
// the pace of the host's Drain.
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
	timer := time.NewTimer(cutOffTime)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		e.log.Error("shutdown: a callback on a loop, or a call of the bus, does not return").Write()
		return ctx.Err()
	}
}

// cutOffTime bounds the cutting off of what is left when a shutdown's time is over.
// It takes much less, unless something blocks.
const cutOffTime = time.Second

// beforeCutOff returns ctx with an earlier deadline, which leaves time for cutting off.
func beforeCutOff(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(cutOffTime, time.Until(deadline)/10)))
}

// shutdown does the work of Shutdown. Unlike Shutdown, it may hang.
func (e *Endpoint) shutdown(ctx context.Context) error {
	defer close(e.stopped)
	if e.host == nil {
		within(ctx, e.front.CloseListeners)
	}
	err := e.shutdownGuests(ctx)
	if e.host == nil {
		if forwardErr := e.endForwarded(ctx); forwardErr != nil {
			err = forwardErr
		}
	}
	if drainErr := e.drain(ctx); drainErr != nil {
		err = drainErr
	}
	e.cutOff()
	e.closeHistory()
	if e.host == nil {
		if httpErr := e.front.Shutdown(ctx); httpErr != nil {
			err = httpErr
		}
	}
	if waitErr := await(ctx, &e.callbacks); waitErr != nil {
		err = waitErr
	}
	e.pubsub.Close() // a bus that fails to close ends with the process
	if e.host == nil {
		e.loops.Close() // fails only if it is called twice
	} else {
		e.moveOut()
	}
	e.log.Flush()
	if e.options.Logger == nil {
		logging.FlushStderr(flushTimeout)
	}
	return err
}

// within runs f on a goroutine and waits until it returns or ctx is done.
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

// shutdownGuests shuts down, in parallel, the guests that are still there.
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

// await waits until count is zero. It polls, so that counting costs no more than an
// addition.
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

// isDraining reports whether Shutdown was called.
func (e *Endpoint) isDraining() bool { return e.gate.Draining() }

// sleep waits for d, or until ctx is done.
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
