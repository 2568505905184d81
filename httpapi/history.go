package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
)

// HistoryPage is a page of the recorded messages of a topic.
type HistoryPage struct {
	// Messages are those of the page, the oldest first.
	Messages []HistoryMessage `json:"messages"`
	// Next is the query parameter "after" for what follows: the next page, or what is
	// recorded later.
	Next string `json:"next"`
	// More reports whether there is a next page.
	More bool `json:"more"`
	// Missing is why messages are missing before the first, if some are: expired or
	// unknown.
	Missing history.Reason `json:"missing,omitempty"`
}

// HistoryMessage is a recorded broadcast.
type HistoryMessage struct {
	// ID identifies the message, for DELETE.
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	Event string    `json:"event"`
	// Payload is the JSON that was broadcast.
	Payload json.RawMessage `json:"payload,omitempty"`
	// Binary has the bytes that were broadcast in place of JSON, in base64.
	Binary []byte `json:"binary,omitzero"`
}

// Deleted says how many messages were removed.
type Deleted struct {
	Deleted int `json:"deleted"`
}

const topicSegment = "{topic}"

// operationsOfHistory read and delete what was recorded.
func (a *API) operationsOfHistory() []operation {
	const path = "/api/instances/{id}/topics/{topic}/history"
	return []operation{{
		method: "GET", path: path, scope: Read, handle: a.history,
		id: "getHistory", summary: "A page of the recorded messages of a topic, the oldest first",
		query: []parameter{
			{name: "after", about: "The next of the page before; without it, the page begins with the oldest message.", schema: text("")},
			{name: "since", about: "Only messages that were recorded at this time or later.", schema: text(`,"format":"date-time"`)},
			{name: "last", about: "The last so many messages.", schema: json.RawMessage(`{"type":"integer","minimum":1,"maximum":1000}`)},
			limitParameter,
		},
		answers: []answerDoc{{status: 200, about: "A page.", schema: ref("schemas", "HistoryPage")}},
		fails:   []int{http.StatusConflict},
	}, {
		method: "DELETE", path: path, scope: Admin, handle: a.deleteHistory,
		id: "deleteHistory", summary: "Remove recorded messages of a topic",
		about: "All of them, or those that the query names. Clients that come back are not sent them, and are not told that they missed them.",
		query: []parameter{
			{name: "message", about: "Only the message with this id.", schema: text("")},
			{name: "before", about: "Only messages that were recorded before this time.", schema: text(`,"format":"date-time"`)},
		},
		answers: []answerDoc{{status: 200, about: "They are removed.", schema: ref("schemas", "Deleted")}},
		fails:   []int{http.StatusConflict},
	}}
}

// history answers a page of the recorded messages of a topic.
func (a *API) history(w http.ResponseWriter, r *request) error {
	ask, err := r.askHistory()
	if err != nil {
		return err
	}
	sp, err := a.manager.History(r.Context(), r.id, r.topic)
	if err != nil {
		return err
	}
	page := sp.Page(r.topic, ask)
	shown := HistoryPage{Messages: make([]HistoryMessage, len(page.Messages)), Next: page.Next.String(), More: page.More, Missing: page.Missing}
	for i := range page.Messages {
		m := &page.Messages[i]
		one := HistoryMessage{ID: m.ID().String(), At: m.Time.UTC(), Event: m.Event}
		if m.Binary {
			one.Binary = append([]byte{}, m.Payload...) // not nil, which would be left out
		} else {
			one.Payload = m.Payload
		}
		shown.Messages[i] = one
	}
	return answer(w, http.StatusOK, shown)
}

// askHistory reads what the query asks for.
func (r *request) askHistory() (ask history.Ask, err error) {
	if ask.PageMessages, err = r.limit(); err != nil {
		return ask, err
	}
	if text := r.query.Get("after"); text != "" {
		if ask.After, err = history.ParsePosition(text); err != nil || ask.After.IsZero() {
			return ask, badQuery("after", "must be the next of a page")
		}
	}
	if r.query.Has("since") {
		if ask.Since, err = r.queryTime("since"); err != nil {
			return ask, err
		}
	}
	if r.query.Has("last") {
		if ask.Last, err = strconv.Atoi(r.query.Get("last")); err != nil || ask.Last < 1 || ask.Last > maxPage {
			return ask, badQuery("last", "must be 1 to %d", maxPage)
		}
		ask.PageMessages = max(ask.PageMessages, ask.Last)
	}
	return ask, nil
}

// queryTime reads a time from the query.
func (r *request) queryTime(name string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, r.query.Get(name))
	if err != nil {
		return at, badQuery(name, "must be a time like 2030-01-31T12:00:00Z")
	}
	return at, nil
}

// deleteHistory removes recorded messages: one, those before a time, or all.
func (a *API) deleteHistory(w http.ResponseWriter, r *request) error {
	var which instances.Erasure
	var err error
	switch {
	case r.query.Has("message") && r.query.Has("before"):
		return badQuery("before", "cannot be used with message")
	case r.query.Has("message"):
		if which.Message, err = history.ParseID(r.query.Get("message")); err != nil {
			return badQuery("message", "must be the id of a message, as GET has it")
		}
	case r.query.Has("before"):
		if which.Before, err = r.queryTime("before"); err != nil {
			return err
		}
	}
	n, err := a.manager.EraseHistory(r.Context(), r.id, r.topic, which)
	if err != nil {
		return err
	}
	a.log.Info("history deleted").Str("by", r.who.key.Name).Str("instance", r.id).Int("messages", n).Write()
	return answer(w, http.StatusOK, Deleted{n})
}
