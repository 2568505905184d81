package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of replays.
var (
	errAway    = errors.New("the back end is not taking events; waiting events must be delivered first")
	errRemoved = errors.New("the events after this one are no longer kept")
)

// replay asks a hook to send events again.
type replay struct {
	dead   bool   // send the dead letters; else the events beginning with from
	from   uint64 // the number of the first event
	result chan replayed
}

type replayed struct {
	delivered, refused int
	err                error
}

func (r *replay) answer(delivered, refused int, err error) {
	r.result <- replayed{delivered, refused, err}
}

// ask has a hook carry out a replay.
func (h *hook) ask(ctx context.Context, r *replay) (delivered, refused int, err error) {
	r.result = make(chan replayed, 1)
	select {
	case h.asked <- r:
	case <-h.ended:
		return 0, 0, errEnd
	case <-ctx.Done():
		return 0, 0, errAway
	}
	select {
	case done := <-r.result:
		return done.delivered, done.refused, done.err
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
}

// replay carries out a replay on the hook's goroutine.
func (h *hook) replay(ctx context.Context, r *replay) {
	if r.dead {
		r.answer(h.replayDead(ctx))
		return
	}
	if r.from < h.stream.log.Oldest() {
		r.answer(0, 0, errRemoved)
		return
	}
	h.seek(r.from)
	h.readTo.Store(r.from)
	r.answer(0, 0, h.commit(r.from))
}

// replayDead sends the dead letters once more. What is refused again, or cannot be sent,
// stays a dead letter.
func (h *hook) replayDead(ctx context.Context) (delivered, refused int, err error) {
	letters, err := h.dead.take()
	if err != nil {
		return 0, 0, err
	}
	for i, l := range letters {
		var id struct{ ID string }
		json.Unmarshal(l.Event, &id) //nolint:errcheck // without an id it is sent all the same
		err := h.sendDead(ctx, id.ID, l)
		switch {
		case err == nil:
			delivered++
			h.stats.delivered.Add(1)
		case isRefusal(err):
			refused++
			if err := h.dead.add(time.Now(), err, l.Event); err != nil {
				return delivered, refused, err
			}
		default:
			for _, rest := range letters[i:] {
				if failed := h.dead.add(rest.Time, errors.New(rest.Error), rest.Event); failed != nil {
					return delivered, refused, failed
				}
			}
			return delivered, refused, err
		}
	}
	return delivered, refused, nil
}

func (h *hook) sendDead(ctx context.Context, id string, l DeadLetter) error {
	began := time.Now()
	err := h.Send(ctx, id, h.body([]item{{json: l.Event}}))
	h.stats.note(time.Since(began), err)
	return err
}

// test sends an event of the kind Test at once, ahead of all that wait.
func (h *hook) test(ctx context.Context) (took time.Duration, err error) {
	now := h.stream.options.Now()
	body := addString(beginBody(nil, Test), "message", fmt.Sprintf("a test of the hook %s", h.name))
	event := slices.Concat([]byte(`{"id":`), quote(h.stream.id(0)+"-"+runName()), []byte(`,"time":`), quote(now.UTC().Format(time.RFC3339Nano)), []byte(","), body, []byte("}"))
	began := time.Now()
	err = h.Send(ctx, runName(), h.body([]item{{json: event}}))
	took = time.Since(began)
	h.stats.note(took, err)
	return took, err
}

func quote(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return quoted
}
