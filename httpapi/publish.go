package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// broadcastRequest is an event for all who have joined a topic.
type broadcastRequest struct {
	Topic   string          `json:"topic" jsonschema:"required,minLength=1,maxLength=255"`
	Event   string          `json:"event" jsonschema:"required,minLength=1,maxLength=255"`
	Payload json.RawMessage `json:"payload" jsonschema:"type=object"` // the default is {}
}

// signalRequest is a call of an instance's logic.
type signalRequest struct {
	// Name is what the instance's type calls the signal.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// Data is the signal's argument, as the type wants it.
	Data json.RawMessage `json:"data"`
}

// maxName bounds a topic and an event in bytes: the binary frames of protocol
// version 2 have one byte for the size of each.
const maxName = 255

// checkNames checks the names of a topic and an event for clients.
func checkNames(topic, event string) error {
	if topic == "" || len(topic) > maxName {
		return fielderr.New("/topic", "must be 1 to %d bytes", maxName)
	}
	return checkEvent(event)
}

func checkEvent(event string) error {
	if event == "" || len(event) > maxName {
		return fielderr.New("/event", "must be 1 to %d bytes", maxName)
	}
	if prefix := channels.ReservedEvent(event); prefix != "" {
		return fielderr.New("/event", "begins with %s, which clients take for the server's own: choose another name", prefix)
	}
	return nil
}

// broadcast sends an event to a topic of an instance.
func (a *API) broadcast(w http.ResponseWriter, r *request) error {
	var b broadcastRequest
	if err := r.decode(&b); err != nil {
		return err
	}
	if err := checkNames(b.Topic, b.Event); err != nil {
		return err
	}
	if len(b.Payload) == 0 {
		b.Payload = json.RawMessage("{}")
	}
	return noContent(w, a.manager.Broadcast(r.id, b.Topic, b.Event, b.Payload))
}

// signal calls the instance's logic and answers its result.
func (a *API) signal(w http.ResponseWriter, r *request) error {
	var body signalRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	if body.Name == "" {
		return fielderr.New("/name", "is needed: what the instance's type calls the signal")
	}
	result, err := a.manager.Signal(r.Context(), r.id, body.Name, body.Data)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]json.RawMessage{"result": result})
}
