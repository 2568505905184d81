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
	// keepEvery bounds how long appended events wait until they are synced to disk.
	keepEvery = time.Second
	// snapshotAfter is the least number of events between two snapshots. It is four times
	// the number of records in the last snapshot if that is more.
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

	from uint64        // the number of the last snapshot; owned by the goroutine once it runs
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

// keep syncs the outbox, saves a snapshot if one is due, and removes old events.
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

// kept returns how many bytes of events to keep that all hooks have taken.
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

// snapshot saves who is connected, what they have joined, and presences.
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

// stop ends the goroutine, and saves a last snapshot, which is empty after a clean
// shutdown.
func (k *keeper) stop() {
	close(k.ending)
	<-k.ended
	k.report(k.snapshot())
}

// dropBefore gives up the events before a number for all hooks. It appends a Lost event,
// with the count, for each hook that has not read all that it takes of them.
func (s *Stream) dropBefore(seq uint64) {
	for _, h := range s.listeners.allHooks() {
		first, last, count := s.unread(h, seq)
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

// unread counts the events before a number that a hook takes and has not read. Those that
// it has read are still delivered.
func (s *Stream) unread(h *hook, before uint64) (first, last, count uint64) {
	r := s.log.NewReader(h.readTo.Load())
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

// removeDir removes the directory of a stream, if it has one.
func removeDir(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
