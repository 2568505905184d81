package events

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/outbox"
)

const (
	// keepEvery is how often what was appended is made to survive the end of the machine.
	keepEvery = time.Second
	// snapshotAfter is the number of events after which who is connected is saved again. It
	// grows with the number of those who are.
	snapshotAfter = 50_000
)

// keeper keeps a stream's outbox within its bounds, on a goroutine of its own.
type keeper struct {
	// Static after init.
	stream *Stream
	woken  chan struct{} // something was appended
	urgent chan struct{} // the outbox is full
	ending chan struct{}
	ended  chan struct{}

	from uint64        // the number of the snapshot; owned by the goroutine once it runs
	due  atomic.Uint64 // the number at which the next one is due
}

func (k *keeper) init(s *Stream) {
	k.stream = s
	k.woken, k.urgent = make(chan struct{}, 1), make(chan struct{}, 1)
	k.ending, k.ended = make(chan struct{}), make(chan struct{})
}

func (k *keeper) start() {
	k.due.Store(max(k.from, k.stream.log.Oldest()) + k.stream.options.SnapshotAfter)
	go k.run()
}

// wake is called after an append. It does not block.
func (k *keeper) wake(full bool) {
	to := k.woken
	if full {
		to = k.urgent
	}
	select {
	case to <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	defer close(k.ended)
	for {
		select {
		case <-k.ending:
			return
		case <-k.urgent:
		case <-k.woken:
			select {
			case <-k.ending:
				return
			case <-k.urgent:
			case <-time.After(keepEvery):
			}
		}
		k.report(k.keep())
	}
}

func (k *keeper) report(err error) {
	if err != nil {
		k.stream.options.Log.Error("could not maintain the outbox of events").Err(err).Str("instance", k.stream.options.Instance).Write()
	}
}

// keep does everything that is due.
func (k *keeper) keep() error {
	s := k.stream
	err := s.log.Sync()
	if s.log.Next() > k.due.Load() {
		err = errors.Join(err, k.snapshot())
	}
	err = errors.Join(err, s.log.Trim(min(s.listeners.oldest(s.log.Next()), k.floor()), k.kept()))
	for s.log.Size() > s.options.Limit {
		second := s.log.Second()
		if second == 0 {
			return err // a single segment, which is not full
		}
		if second > k.floor() {
			if failed := k.snapshot(); failed != nil {
				return errors.Join(err, failed)
			}
		}
		s.dropBefore(second)
		if failed := s.log.Trim(second, 0); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

func (k *keeper) kept() int64 {
	kept := max(0, k.stream.options.Kept)
	if k.stream.options.Dir == "" {
		return kept / keptInMemory
	}
	return kept
}

// floor returns the number of the oldest event that the next process needs after a crash.
func (k *keeper) floor() uint64 {
	if k.stream.options.Dir == "" {
		return ^uint64(0)
	}
	return k.from
}

// snapshot saves who is connected.
func (k *keeper) snapshot() error {
	s := k.stream
	if s.options.Dir == "" {
		k.due.Store(^uint64(0))
		return nil
	}
	s.mu.Lock()
	from := s.log.Next()
	s.mu.Unlock()
	count := uint64(0)
	_, err := outbox.WriteSnapshot(filepath.Join(s.options.Dir, snapshotFile), from, func(yield func(outbox.Record) bool) {
		for r := range s.beginnings() {
			count++
			if !yield(r) {
				return
			}
		}
	})
	k.due.Store(s.log.Next() + max(s.options.SnapshotAfter, 4*count))
	if err == nil {
		k.from = from
	}
	return err
}

// stop ends the goroutine, and saves who is connected: after a clean end nobody.
func (k *keeper) stop() {
	close(k.ending)
	<-k.ended
	k.report(k.snapshot())
}

// dropBefore gives up what hooks have not been told of the events before a number, and
// tells them how many those were.
func (s *Stream) dropBefore(seq uint64) {
	for _, h := range s.listeners.list() {
		first, last, count := s.untold(h, seq)
		if count == 0 {
			h.skipTo(seq)
			continue
		}
		h.stats.lost.Add(count)
		l := lostEvent{Hook: h.name, Count: count, First: s.id(first), Last: s.id(last), Reason: "the outbox is full"}
		s.appendEvent(Lost, h.name, l.body())
		h.skipTo(seq)
		s.options.Log.Error("events are lost: the outbox is full, because a hook has not taken them").
			Str("instance", s.options.Instance).Str("hook", h.name).Int("events", int(count)).Write()
	}
}

// untold counts the events before a number that a hook has yet to be told of.
func (s *Stream) untold(h *hook, before uint64) (first, last, count uint64) {
	r := s.log.NewReader(h.taken.Load())
	for {
		records, _, err := r.Read()
		if err != nil || len(records) == 0 {
			return first, last, count
		}
		for i := range records {
			rec := &records[i]
			if rec.Seq >= before {
				return first, last, count
			}
			if !h.takes(rec) {
				continue
			}
			n := uint64(1)
			if Kind(rec.Kind) == Lost {
				n = lostCount(rec)
			}
			if count == 0 {
				first = rec.Seq
			}
			last, count = rec.Seq, count+n
		}
	}
}

// removeDir removes everything that a stream has kept.
func removeDir(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
