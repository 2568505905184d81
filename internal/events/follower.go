package events

import (
	"context"

	"github.com/mycelium-rt/mycelium/internal/outbox"
)

// Follower reads the events of a stream. It belongs to one goroutine.
type Follower struct {
	selects Selection
	stream  *Stream
	reader  *outbox.Reader
	ctx     context.Context // ends with Events.Close
	end     func()
}

// Next waits for events and returns them, as many as one read of the outbox brings. The
// first may be of the kind Lost, with the number of events that are no longer kept. The
// error is that of ctx, ErrClosed when the server shuts down, or outbox.ErrClosed when
// the stream has ended; the follower's client may then follow the instance's next stream.
func (f *Follower) Next(ctx context.Context) (list []Event, err error) {
	for len(list) == 0 {
		records, lost, err := f.reader.Read()
		switch {
		case err != nil:
			return nil, err
		case lost > 0:
			list = append(list, f.lostEvent(lost))
		}
		for i := range records {
			if r := &records[i]; f.takes(r) {
				list = append(list, f.stream.eventOf(r))
			}
		}
		if len(records) > 0 || len(list) > 0 {
			continue
		}
		select {
		case <-f.stream.log.Appended(f.reader.Next()):
		case <-f.stream.over:
			if f.stream.log.Next() <= f.reader.Next() {
				return nil, outbox.ErrClosed
			}
		case <-f.ctx.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return list, nil
}

func (f *Follower) takes(r *outbox.Record) bool {
	k := Kind(r.Kind)
	if k == Lost {
		return r.Topic == ""
	}
	event := ""
	if k == Published {
		event = publishedEvent(r.Body)
	}
	return f.selects.takes(k, r.Topic, event)
}

// lostEvent returns the event that reports that n events before the next one are gone.
func (f *Follower) lostEvent(n uint64) Event {
	body := lostEvent{Count: n, Reason: "they are no longer kept"}.body()
	s := f.stream
	r := outbox.Record{Seq: max(1, f.reader.Next()) - 1, Time: milliseconds(s.options.Now()), Kind: uint8(Lost), Body: body}
	return s.eventOf(&r)
}

// Close ends the follower. What it selects is recorded for another Linger, in case its
// client comes back.
func (f *Follower) Close() { f.end() }
