package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
)

// eventStreamType is the content type of server-sent events.
const eventStreamType = "text/event-stream"

// keepAliveEvery is how often a stream without events is sent a comment, so that proxies
// do not close it and a client that is gone is noticed.
const keepAliveEvery = 15 * time.Second

// retryAfter is how long clients wait before they come back, in milliseconds.
const retryAfter = 1000

// replayRequest says what a hook is sent again: one of both.
type replayRequest struct {
	// Dead sends the dead letters again.
	Dead bool `json:"dead"`
	// After sends all events again that follow the one with this id.
	After string `json:"after"`
}

// Replay is what a replay of dead letters has done. A replay after an event has only begun
// when it is answered.
type Replay struct {
	// Delivered counts dead letters that the back end has taken now.
	Delivered int `json:"delivered"`
	// Refused counts those that it has refused again.
	Refused int `json:"refused"`
}

const hookSegment = "{hook}"

// operationsOfEvents are about events and those who are told of them.
func (a *API) operationsOfEvents() []operation {
	const hook = "/api/instances/{id}/hooks/{hook}"
	list := func(about, pattern string) json.RawMessage {
		return fmt.Appendf(nil, `{"type":"array","items":{"type":"string"%s},"description":%q}`, pattern, about)
	}
	return append(a.operationsOfHooks(hook), []operation{{
		method: "GET", path: "/api/instances/{id}/events", scope: Read, handle: a.follow,
		id: "followEvents", summary: "What happens in an instance, as server-sent events",
		about: "The stream has no end. Each event is an object of JSON and has an id; with the last one in Last-Event-ID a client that comes back within a minute misses nothing. " +
			"It begins with the next event. In a cluster it has the events of the node that answers.",
		query: []parameter{
			{name: "type", about: "Only events of this type; may be repeated.", repeated: true, schema: list("Types of events.", "")},
			{name: "topic", about: "Only events about topics of this pattern, exact or with a * at the end; may be repeated.", repeated: true, schema: list("Patterns.", "")},
			{name: "event", about: "Only published messages with events of this pattern; may be repeated.", repeated: true, schema: list("Patterns.", "")},
			{name: "after", about: "Like Last-Event-ID, for clients that cannot set it.", schema: text("")},
		},
		header:  []parameter{{name: "Last-Event-ID", about: "The id of the last event that the client has.", schema: text("")}},
		answers: []answerDoc{{status: 200, about: "The events.", schema: text(""), media: eventStreamType}},
		fails:   []int{http.StatusConflict, http.StatusServiceUnavailable},
	}, {
		method: "POST", path: hook + "/replay", scope: Admin, handle: a.replayHook, body: jsonBody("ReplayRequest"),
		id: "replayHook", summary: "Send a hook dead letters, or past events, once more",
		answers: []answerDoc{{status: 200, about: "It is done, or has begun.", schema: ref("schemas", "Replay")}},
		fails:   []int{http.StatusConflict},
	}, {
		method: "GET", path: hook + "/dead", scope: Read, handle: a.deadLetters,
		id: "listDeadLetters", summary: "The events that a hook has refused, the oldest first", query: []parameter{limitParameter},
		answers: []answerDoc{{status: 200, about: "The last so many.", schema: object("dead_letters", listOf("DeadLetter"))}},
	}}...)
}

// follow answers a stream of events, until the client is gone or the server stops.
func (a *API) follow(w http.ResponseWriter, r *request) error {
	selects, err := events.Select(r.query["type"], r.query["topic"], r.query["event"])
	if err != nil {
		return problem(http.StatusBadRequest, "query", "Invalid query", "%v", err)
	}
	in, err := a.manager.Life(r.id)
	if err != nil {
		return err
	}
	if a.events == nil {
		return errNoEvents
	}
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = r.query.Get("after")
	}
	f, err := a.events.Follow(in, selects, after)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", eventStreamType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	if send(w, fmt.Appendf(nil, "retry: %d\n\n", retryAfter)) == nil {
		a.stream(w, r, f)
	}
	return nil
}

// stream sends events as long as the caller's key permits it.
func (a *API) stream(w http.ResponseWriter, r *request, f *events.Follower) {
	var buf []byte
	for {
		ctx, cancel := context.WithTimeout(r.Context(), keepAliveEvery)
		list, err := f.Next(ctx)
		cancel()
		buf = buf[:0]
		switch {
		case !a.stillPermits(r.who, Read, r.id):
			return
		case err == nil:
			for _, e := range list {
				buf = fmt.Appendf(buf, "id: %s\ndata: %s\n\n", e.ID, e.JSON)
			}
		case errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil:
			buf = append(buf, ":\n\n"...)
		default:
			return
		}
		if send(w, buf) != nil {
			return
		}
	}
}

// send writes and flushes.
func send(w http.ResponseWriter, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// stillPermits reports whether the present keys permit what the caller was permitted.
// What another node has permitted stays so: it ends the request itself.
func (a *API) stillPermits(who caller, s Scope, id string) bool {
	if who.key.Hash == "" {
		return true
	}
	now := a
	if a.options.Latest != nil {
		now = a.options.Latest()
	}
	for i := range now.keys {
		if k := &now.keys[i]; k.Hash == who.key.Hash {
			return k.allows(s) && k.sees(id)
		}
	}
	return false
}

// errNoEvents answers for a program that does not tell events.
var errNoEvents = notFound("this server does not tell events")

// withHooks returns what tells of the instance, if that exists and no other node runs it.
func (a *API) withHooks(r *request) (*events.Events, error) {
	if _, err := a.manager.Life(r.id); err != nil && !errors.Is(err, instances.ErrNotRunning) {
		return nil, err
	}
	if a.events == nil {
		return nil, errNoEvents
	}
	return a.events, nil
}

// replayWait is how long a replay waits for its turn.
const replayWait = 10 * time.Second

func (a *API) replayHook(w http.ResponseWriter, r *request) error {
	var body replayRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	if body.Dead == (body.After != "") {
		return fielderr.New("/after", "or dead is needed, and not both: the id of an event, or true")
	}
	told, err := a.withHooks(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), replayWait)
	defer cancel()
	var done events.Replayed
	if body.Dead {
		done, err = told.ReplayDead(ctx, r.id, r.hook)
	} else {
		err = told.ReplayAfter(ctx, r.id, r.hook, body.After)
	}
	switch {
	case errors.Is(err, events.ErrNoHook):
		return noHook(r)
	case err != nil:
		return problem(http.StatusConflict, "replay", "Not replayed", "%v", err)
	}
	a.log.Info("hook replayed").Str("by", r.who.key.Name).Str("instance", r.id).Str("hook", r.hook).Write()
	return answer(w, http.StatusOK, Replay{Delivered: done.Delivered, Refused: done.Refused})
}

// DeadLetter is an event that a back end has refused.
type DeadLetter struct {
	// Time is when it was refused.
	Time time.Time `json:"time"`
	// Error is what the back end answered.
	Error string `json:"error"`
	// Event is the event as it was sent.
	Event json.RawMessage `json:"event" jsonschema:"type=object"`
}

func (a *API) deadLetters(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	told, err := a.withHooks(r)
	if err != nil {
		return err
	}
	letters, err := told.DeadLetters(r.id, r.hook)
	if errors.Is(err, events.ErrNoHook) {
		return noHook(r)
	}
	if err != nil {
		return err
	}
	list := []DeadLetter{}
	for _, l := range letters[max(0, len(letters)-limit):] {
		list = append(list, DeadLetter(l))
	}
	return answer(w, http.StatusOK, map[string]any{"dead_letters": list})
}
