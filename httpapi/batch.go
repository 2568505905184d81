package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// batchRequest is many broadcasts.
type batchRequest struct {
	// Messages are sent in their order.
	Messages []json.RawMessage `json:"messages" jsonschema:"required"`
}

// batchMessage is an event for all who have joined one of the topics.
type batchMessage struct {
	// Topics are where the event is sent. A message counts for each of them against the
	// bound of a request.
	Topics  []string        `json:"topics" jsonschema:"required,minItems=1"`
	Event   string          `json:"event" jsonschema:"required,minLength=1,maxLength=255"`
	Payload json.RawMessage `json:"payload" jsonschema:"type=object"` // the default is {}
}

// BatchResults says what has become of the messages of a batch.
type BatchResults struct {
	// Results has one result for each message, in their order.
	Results []BatchResult `json:"results"`
}

// BatchResult says what has become of a message.
type BatchResult struct {
	// Sent is the number of its topics, from the first on, to which it was sent.
	Sent int `json:"sent"`
	// Problem is why it was not sent to the others.
	Problem *Problem `json:"problem,omitempty"`
}

func (b *batchMessage) check() error {
	var wrong fielderr.List
	if len(b.Topics) == 0 {
		wrong.Add("/topics", "needs at least one topic")
	}
	for i, topic := range b.Topics {
		if topic == "" || len(topic) > maxName {
			wrong.Add("/topics/"+strconv.Itoa(i), "must be 1 to %d bytes", maxName)
		}
	}
	var event fielderr.List
	if errors.As(checkEvent(b.Event), &event) {
		wrong = append(wrong, event...)
	}
	return wrong.Err()
}

// batch sends many events. What is wrong with one of them does not concern the others.
func (a *API) batch(w http.ResponseWriter, r *request) error {
	var body batchRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	if len(body.Messages) == 0 {
		return fielderr.New("/messages", "needs at least one message")
	}
	messages, wrong := make([]batchMessage, len(body.Messages)), make([]error, len(body.Messages))
	total := 0
	for i, text := range body.Messages {
		if wrong[i] = decodeStrict(text, &messages[i]); wrong[i] == nil {
			wrong[i] = messages[i].check()
		}
		total += max(1, len(messages[i].Topics))
	}
	if most := a.options.MaxBatch; total > most {
		return fielderr.New("/messages", "has %d messages, each counted for each of its topics: at most %d are allowed in a request", total, most)
	}
	if _, err := a.manager.To(r.id, channels.Target{}); err != nil { // it does not run here: one problem, not one for each message
		return err
	}
	results := make([]BatchResult, len(messages))
	for i := range messages {
		if err := wrong[i]; err != nil {
			results[i].Problem = problemAt(err, "/messages/"+strconv.Itoa(i))
			continue
		}
		results[i] = a.broadcastToAll(r.id, &messages[i])
		if p := results[i].Problem; p != nil {
			results[i].Problem = problemAt(p, "/messages/"+strconv.Itoa(i))
		}
	}
	return answer(w, http.StatusOK, BatchResults{results})
}

// broadcastToAll sends one message of a batch.
func (a *API) broadcastToAll(id string, b *batchMessage) (result BatchResult) {
	if len(b.Payload) == 0 {
		b.Payload = json.RawMessage("{}")
	}
	for _, topic := range b.Topics {
		if err := a.manager.Broadcast(id, topic, b.Event, b.Payload); err != nil {
			result.Problem = problemFor(err)
			return result
		}
		result.Sent++
	}
	return result
}

// problemAt is problemFor an error whose fields are below a pointer.
func problemAt(err error, pointer string) *Problem {
	p := *problemFor(err)
	if len(p.Errors) > 0 {
		var below fielderr.List
		below.AddBelow(pointer, p.Errors)
		p.Errors, p.Detail = below, below.Error()
	}
	return &p
}
