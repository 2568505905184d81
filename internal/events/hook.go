package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/outbox"
	"github.com/mycelium-rt/mycelium/internal/webhook"
	"github.com/mycelium-rt/mycelium/wire"
)

// Bounds of the delivery to a hook.
const (
	// batchEvents and batchBytes bound a batch; a single event may be larger.
	batchEvents = 500
	batchBytes  = 512 << 10
	// gatherFor is how long the first event of a batch waits for others.
	gatherFor = 20 * time.Millisecond
	// firstPause and longestPause bound the pause between two tries of a batch.
	firstPause   = 250 * time.Millisecond
	longestPause = 15 * time.Second
)

// Hook is a receiver of the events of an instance.
type Hook struct {
	// Name is unique among the hooks of the instance, and part of file names: a-z, 0-9
	// and -.
	Name string
	// Selects selects the events that the hook is sent.
	Selects Selection
	// Send sends a batch. id is the same for all tries of the same events. A
	// *webhook.StatusError of 400, 413 or 422 refuses the events for good.
	Send func(ctx context.Context, id string, body []byte) error
	// Close is called when the hook is no longer used.
	Close func()
	// Fingerprint changes when the hook must be replaced: a running hook goes on if the
	// new one has the same Name and Fingerprint.
	Fingerprint string
}

// hook delivers the events of a stream to a Hook, on a goroutine of its own.
type hook struct {
	// Static after open.
	Hook
	name   string
	stream *Stream
	dead   *deadLetters
	cancel context.CancelFunc
	ended  chan struct{}
	asked  chan *replay // nil wakes the goroutine, to drain

	readTo   atomic.Uint64 // the number after the last event that was read
	doneTo   atomic.Uint64 // the number after the last event that was delivered or given up
	skip     atomic.Uint64 // events before this number were given up
	draining atomic.Bool   // the hook ends when nothing is left, or a try fails
	stats    hookStats

	// Owned by the goroutine.
	reader *outbox.Reader
	left   []outbox.Record // read and not yet in a batch; valid until the next read
	cursor *outbox.Cursor
}

// openHook starts a hook. A new one begins with the next event.
func (s *Stream) openHook(o Hook) (*hook, error) {
	h := &hook{Hook: o, name: o.Name, stream: s, ended: make(chan struct{}), asked: make(chan *replay)}
	path := func(suffix string) string {
		if s.options.Dir == "" {
			return ""
		}
		return filepath.Join(s.options.Dir, o.Name+suffix)
	}
	var err error
	if h.cursor, err = outbox.OpenCursor(path(cursorSuffix), s.log.Next()); err != nil {
		return nil, err
	}
	if err := h.cursor.Set(min(h.cursor.Seq(), s.log.Next())); err != nil {
		h.cursor.Close()
		return nil, err
	}
	if h.dead, err = openDeadLetters(path(deadSuffix)); err != nil {
		h.cursor.Close()
		return nil, err
	}
	h.reader = s.log.NewReader(h.cursor.Seq())
	h.readTo.Store(h.cursor.Seq())
	h.doneTo.Store(h.cursor.Seq())
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(context.Background())
	go h.run(ctx)
	return h, nil
}

const (
	cursorSuffix = ".cursor"
	deadSuffix   = ".dead"
)

// end ends the delivery. What is left stays in the outbox.
func (h *hook) end() {
	h.cancel()
	<-h.ended
	h.cursor.Close()
	h.dead.close()
	if h.Close != nil {
		h.Close()
	}
}

// drain ends the delivery when everything is delivered, a try fails, or ctx ends.
func (h *hook) drain(ctx context.Context) {
	h.draining.Store(true)
	select {
	case h.asked <- nil: // wakes it if it waits for events
	case <-h.ended:
	case <-ctx.Done():
	}
	select {
	case <-h.ended:
	case <-ctx.Done():
	}
	h.end()
}

func (h *hook) skipTo(seq uint64) { h.skip.Store(seq) }

// takes reports whether the hook is sent an event.
func (h *hook) takes(r *outbox.Record) bool {
	k := Kind(r.Kind)
	if k == Lost {
		return r.Topic == "" || r.Topic == h.name
	}
	event := ""
	if k == Published {
		event = publishedEvent(r.Body)
	}
	return h.Selects.takes(k, r.Topic, event)
}

func lostCount(r *outbox.Record) uint64 {
	var l lostEvent
	json.Unmarshal(append([]byte("{"), r.Body...), &l) //nolint:errcheck // it is what this package has written
	return l.Count
}

// batch is events that are sent together.
type batch struct {
	events []item
	bytes  int
	next   uint64 // the number after the last event that was considered for it
}

// item is an event of a batch.
type item struct {
	seq  uint64
	time int64
	json []byte
}

var errEnd = errors.New("events: the hook ends")

func (h *hook) run(ctx context.Context) {
	defer close(h.ended)
	for {
		b, err := h.gather(ctx)
		if err == nil && len(b.events) > 0 {
			err = h.deliver(ctx, b.events)
		}
		if err == nil {
			err = h.commit(b.next)
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnd) || errors.Is(err, outbox.ErrClosed):
			return
		case err != nil:
			h.stream.options.Log.Error("events cannot be delivered").Err(err).Str("instance", h.stream.options.Instance).Str("hook", h.name).Write()
			if !sleep(ctx, longestPause) {
				return
			}
			h.seek(h.cursor.Seq())
		}
	}
}

// gather waits for events and returns a batch, which may be empty if the hook takes none
// of them.
func (h *hook) gather(ctx context.Context) (b batch, err error) {
	for {
		if to := h.skip.Load(); to > h.next() {
			h.seek(to)
		}
		if len(h.left) == 0 {
			var err error
			if h.left, _, err = h.reader.Read(); err != nil { // removed events were reported by dropBefore
				return b, err
			}
		}
		switch {
		case len(h.left) > 0:
			if full := h.collect(&b); full || len(b.events) == 0 {
				return b, nil
			}
		case b.next > 0:
			return b, nil
		default:
			if err := h.await(ctx); err != nil {
				return b, err
			}
		}
	}
}

// next returns the number of the next event that is to be read.
func (h *hook) next() uint64 {
	if len(h.left) > 0 {
		return h.left[0].Seq
	}
	return h.reader.Next()
}

// seek makes the hook read on from another number.
func (h *hook) seek(to uint64) {
	h.left = nil
	h.reader.Seek(to)
	h.readTo.Store(to)
}

// await waits for an event, and a moment more for those that follow it.
func (h *hook) await(ctx context.Context) error {
	if h.draining.Load() {
		return errEnd
	}
	select {
	case <-h.stream.log.Appended(h.next()):
	case r := <-h.asked:
		if r != nil {
			h.replay(ctx, r)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	if h.draining.Load() {
		return nil
	}
	sleep(ctx, gatherFor)
	return nil
}

// collect adds events that were read to a batch, and reports whether it is full.
func (h *hook) collect(b *batch) (full bool) {
	n := 0
	for ; n < len(h.left); n++ {
		r := &h.left[n]
		if h.takes(r) {
			if have := len(b.events); have == batchEvents || have > 0 && b.bytes+len(r.Body) > batchBytes {
				full = true
				break
			}
			text := h.stream.appendJSON(make([]byte, 0, len(r.Body)+overhead), r)
			b.events = append(b.events, item{r.Seq, r.Time, text})
			b.bytes += len(text)
		}
		b.next = r.Seq + 1
	}
	h.left = h.left[n:]
	h.readTo.Store(b.next)
	return full
}

// overhead is room for the parts of an event, or of a request, other than its bodies.
const overhead = 100

// commit notes that everything before a number is done.
func (h *hook) commit(next uint64) error {
	h.doneTo.Store(next)
	if next == h.cursor.Seq() {
		return nil
	}
	return h.cursor.Set(next)
}

// deliver sends events until each was taken, refused or too old.
func (h *hook) deliver(ctx context.Context, events []item) error {
	h.stats.waitingSince.Store(events[0].time)
	defer h.stats.waitingSince.Store(0)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := h.send(ctx, events)
		switch {
		case err == nil:
			h.stats.delivered.Add(uint64(len(events)))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isRefusal(err) && len(events) > 1: // find out which ones are refused
			half := len(events) / 2
			if err := h.deliver(ctx, events[:half]); err != nil {
				return err
			}
			return h.deliver(ctx, events[half:])
		case isRefusal(err) || h.tooOld(events):
			return h.bury(events, err)
		case h.draining.Load():
			return errEnd
		}
		if wait := retryAfter(err); wait > 0 {
			pause = min(wait, longestPause)
		}
		if err := h.pause(ctx, pause/2+rand.N(pause/2)); err != nil {
			return err
		}
	}
}

// pause waits between two tries. Meanwhile nothing can be replayed.
func (h *hook) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case r := <-h.asked:
			if r == nil {
				return nil // to drain: one more try
			}
			r.answer(0, 0, errAway)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends events once.
func (h *hook) send(ctx context.Context, events []item) error {
	began := time.Now()
	err := h.Send(ctx, h.batchID(events), h.body(events))
	h.stats.note(time.Since(began), err)
	return err
}

// batchID names a batch by its first and last event.
func (h *hook) batchID(events []item) string {
	first, last := events[0].seq, events[len(events)-1].seq
	if first == last {
		return h.stream.id(first)
	}
	return fmt.Sprintf("%s-%d", h.stream.id(first), last)
}

// body returns the body of a request with events.
func (h *hook) body(events []item) []byte {
	size := overhead
	for _, e := range events {
		size += len(e.json) + 1
	}
	dst := append(make([]byte, 0, size), `{"hook":`...)
	dst = wire.AppendString(dst, h.name)
	dst = wire.AppendString(append(dst, `,"instance":`...), h.stream.options.Instance)
	dst = append(dst, `,"events":[`...)
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, e.json...)
	}
	return append(dst, ']', '}')
}

// isRefusal reports whether the back end says that the events themselves are wrong.
func isRefusal(err error) bool {
	var s *webhook.StatusError
	return errors.As(err, &s) &&
		(s.Status == http.StatusBadRequest || s.Status == http.StatusRequestEntityTooLarge || s.Status == http.StatusUnprocessableEntity)
}

func retryAfter(err error) time.Duration {
	var s *webhook.StatusError
	if errors.As(err, &s) {
		return s.RetryAfter
	}
	return 0
}

func (h *hook) tooOld(events []item) bool {
	return milliseconds(h.stream.options.Now())-events[len(events)-1].time > h.stream.options.MaxAge.Milliseconds()
}

// bury makes events dead letters.
func (h *hook) bury(events []item, why error) error {
	h.stats.dead.Add(uint64(len(events)))
	h.stream.options.Log.Warn("the back end has not taken events; they are kept as dead letters").Err(why).
		Str("instance", h.stream.options.Instance).Str("hook", h.name).Int("events", len(events)).Write()
	for _, e := range events {
		if err := h.dead.add(h.stream.options.Now(), why, e.json); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hookStats are the counters of a hook.
type hookStats struct {
	delivered, dead, lost atomic.Uint64
	sent, failed          atomic.Uint64 // requests
	waitingSince          atomic.Int64  // the time of the oldest event that is being delivered; 0: none
	durations             webhook.Histogram

	mu        sync.Mutex
	lastError string    // guarded by mu; "" after a success
	lastTry   time.Time // guarded by mu
}

func (s *hookStats) note(took time.Duration, err error) {
	s.sent.Add(1)
	s.durations.Observe(took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastTry, s.lastError = time.Now(), ""
	if err != nil {
		s.failed.Add(1)
		s.lastError = err.Error()
	}
}
