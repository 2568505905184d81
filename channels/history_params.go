package channels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// historyParams is the object "history" in a join's params. Numbers are floats, because some
// encoders write all numbers as such (1.8e12).
type historyParams struct {
	After  *string  `json:"after"`  // the position that the client was last sent
	Since  *float64 `json:"since"`  // Unix milliseconds
	Last   float64  `json:"last"`   // how many of the most recent messages
	Limit  float64  `json:"limit"`  // the most messages to send
	Client string   `json:"client"` // the same for all connections of a client
}

// maxClientName bounds historyParams.Client in bytes.
const maxClientName = 128

// historyParamTypes says what each of the historyParams must be.
var historyParamTypes = map[string]string{
	"after":  "a string, the pos of a history_mark",
	"since":  "a number of milliseconds since 1970",
	"last":   "a number of messages",
	"limit":  "a number of messages",
	"client": fmt.Sprintf("a string of at most %d bytes", maxClientName),
}

// askedCatchUp returns the catch-up that the key "history" of a join's params asks for, or
// nil. A value that is not an object is the application's own, and asks for nothing.
func askedCatchUp(params Payload) *catchUp {
	if params.Binary || !bytes.Contains(params.Data, []byte(`"history"`)) {
		return nil
	}
	var p struct {
		History json.RawMessage `json:"history"`
	}
	if json.Unmarshal(params.Data, &p) != nil || len(p.History) == 0 || p.History[0] != '{' {
		return nil
	}
	var h historyParams
	u := &catchUp{asked: true, own: true}
	err := json.Unmarshal(p.History, &h)
	if len(h.Client) <= maxClientName {
		u.client = h.Client
	} else {
		u.wrong = wrongParam("client", fmt.Sprintf("one of %d bytes", len(h.Client)))
	}
	u.ask.Limit = countOf(h.Limit)
	switch {
	case err != nil: // a param of the wrong type
		u.ask.Unknown = true
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			u.wrong = wrongParam(t.Field, "a JSON "+t.Value[:min(len(t.Value), 40)])
		}
	case h.After != nil:
		position, err := history.ParsePosition(*h.After)
		if u.ask.After = position; err != nil || position.IsZero() {
			u.ask.Unknown, u.wrong = true, wrongParam("after", "another text")
		}
	case h.Since != nil:
		u.ask.Since = time.UnixMilli(int64(min(max(1, *h.Since), maxSince)))
	case h.Last >= 1:
		u.ask.Last = countOf(h.Last)
	default:
		u.ask.Last, u.own = -1, false // no messages now, but marks from now on
	}
	return u
}

// maxSince and maxCount bound numbers that are converted from floats, to ones that
// are beyond any sensible time and count.
const (
	maxSince = 1 << 52
	maxCount = 1 << 30
)

func countOf(f float64) int { return int(min(max(0, f), maxCount)) }

// wrongParam says what is wrong with one of the historyParams, for its client.
func wrongParam(name, got string) string {
	return fmt.Sprintf("history.%s must be %s, not %s", name, historyParamTypes[name], got)
}
