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
	errAway = errors.New("the back end is not taking events; waiting events must be delivered first")
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
	if oldest := h.stream.log.Oldest(); r.from < oldest {
		r.answer(0, 0, fmt.Errorf("some events after %q are no longer kept; all those after %q are", h.stream.id(r.from-1), h.stream.id(oldest-1)))
		return
	}
	h.seek(r.from)
	r.answer(0, 0, h.commit(r.from))
}

// replayDead sends the dead letters once more. What is refused again, or cannot be sent,
// stays a dead letter. If the process ends meanwhile, all of them stay.
func (h *hook) replayDead(ctx context.Context) (delivered, refused int, err error) {
	letters, err := h.dead.List()
	if err != nil {
		return 0, 0, err
	}
	var left []DeadLetter
	for i, l := range letters {
		var id struct{ ID string }
		json.Unmarshal(l.Event, &id) //nolint:errcheck // without an id it is sent all the same
		if err = h.sendDead(ctx, id.ID, l); err == nil {
			delivered++
			h.stats.delivered.Add(1)
			continue
		}
		if !isRefusal(err) {
			left = append(left, letters[i:]...)
			break
		}
		refused++
		left = append(left, DeadLetter{Time: time.Now().UTC(), Error: err.Error(), Event: l.Event})
		err = nil
	}
	return delivered, refused, errors.Join(err, h.dead.replace(left))
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
