package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// broadcastRequest is the body of a broadcast.
type broadcastRequest struct {
	Topic   string          `json:"topic"`
	Event   string          `json:"event"`
	Payload json.RawMessage `json:"payload"`
}

// maxName bounds a topic and an event in bytes: the binary frames of protocol
// version 2 have one byte for the size of each.
const maxName = 255

func (b *broadcastRequest) check() error {
	for _, f := range []struct{ pointer, value string }{{"/topic", b.Topic}, {"/event", b.Event}} {
		if f.value == "" || len(f.value) > maxName {
			return invalidField(f.pointer, "must be 1 to %d bytes", maxName)
		}
	}
	if prefix := channels.ReservedEvent(b.Event); prefix != "" {
		return invalidField("/event", "begins with %s, which clients take for the server's own: choose another name", prefix)
	}
	return nil
}

// broadcast sends an event to a topic of an instance. With an Idempotency-Key
// the same request once more is answered as the first was, and sends nothing.
func (a *API) broadcast(w http.ResponseWriter, r *request) error {
	body, err := r.read(jsonType)
	if err != nil {
		return err
	}
	var b broadcastRequest
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	if len(b.Payload) == 0 {
		b.Payload = json.RawMessage("{}")
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxName {
		return problem(http.StatusBadRequest, "idempotency-key", "Invalid Idempotency-Key", "it has %d bytes, at most %d are possible", len(key), maxName)
	}
	send := func() error { return a.manager.Broadcast(r.id, b.Topic, b.Event, b.Payload) }
	if key == "" {
		err = send()
	} else {
		var again bool
		again, err = a.replay(r, key, body, send)
		if again {
			w.Header().Set("Idempotency-Replayed", "true")
		}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// replay is replays.once for a request to an instance: a key belongs to one
// caller and to one instance, not to another that is given the same id later.
func (a *API) replay(r *request, key string, body []byte, send func() error) (again bool, err error) {
	i, err := a.manager.Get(r.id)
	if err != nil {
		return false, err
	}
	return a.replays.once(fmt.Sprintf("%d\x00%s\x00%s", i.Incarnation, r.who.key.Name, key), body, send)
}

// disconnect closes the sockets of an id; their clients come back.
func (a *API) disconnect(w http.ResponseWriter, r *request) error {
	var body struct {
		SocketID string `json:"socket_id"`
	}
	if err := r.decode(&body); err != nil {
		return err
	}
	if body.SocketID == "" {
		return invalidField("/socket_id", "is needed: the id that the sockets were given when they connected, like users_socket:42")
	}
	if err := a.manager.Disconnect(r.id, body.SocketID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// signal calls the instance's logic and answers its result.
func (a *API) signal(w http.ResponseWriter, r *request) error {
	var body struct {
		Name string          `json:"name"`
		Data json.RawMessage `json:"data"`
	}
	if err := r.decode(&body); err != nil {
		return err
	}
	if body.Name == "" {
		return invalidField("/name", "is needed: what the instance's type calls the signal")
	}
	result, err := a.manager.Signal(r.Context(), r.id, body.Name, body.Data)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]json.RawMessage{"result": result})
}

// replays remembers the requests that came with an Idempotency-Key.
type replays struct {
	now func() time.Time // static

	mu    sync.Mutex
	seen  map[string]*replay // guarded by mu
	order []*replay          // guarded by mu: oldest first
}

type replay struct {
	key  string
	body [sha256.Size]byte
	at   time.Time
	done chan struct{} // closed when err is known
	err  error
}

const (
	// replayFor is how long a key is remembered: longer than anybody retries.
	replayFor = 10 * time.Minute
	// maxReplays bounds how many are, about 200 bytes each; above it the oldest
	// are forgotten early.
	maxReplays = 100_000
)

// once runs send unless it has succeeded for the key before; again tells that
// it had. Of two at the same time, the second waits for the first. A request
// that failed is forgotten: it may be tried again. Another body under the same
// key is a mistake of the caller.
func (p *replays) once(key string, body []byte, send func() error) (again bool, err error) {
	sum := sha256.Sum256(body)
	r, first := p.take(key, sum)
	if !first {
		if r.body != sum {
			return false, problem(http.StatusUnprocessableEntity, "idempotency-key", "Idempotency-Key used twice",
				"this key came with another body before: use a new key for each broadcast")
		}
		<-r.done
		return r.err == nil, r.err
	}
	r.err = send()
	close(r.done)
	if r.err != nil {
		p.forget(r)
	}
	return false, r.err
}

func (p *replays) take(key string, sum [sha256.Size]byte) (r *replay, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for len(p.order) > 0 && (now.Sub(p.order[0].at) > replayFor || len(p.order) >= maxReplays) {
		if oldest := p.order[0]; p.seen[oldest.key] == oldest {
			delete(p.seen, oldest.key)
		}
		p.order[0] = nil
		p.order = p.order[1:]
	}
	if r := p.seen[key]; r != nil {
		return r, false
	}
	if p.seen == nil {
		p.seen = make(map[string]*replay)
	}
	r = &replay{key: key, body: sum, at: now, done: make(chan struct{})}
	p.seen[key] = r
	p.order = append(p.order, r)
	return r, true
}

func (p *replays) forget(r *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[r.key] == r {
		delete(p.seen, r.key)
	}
}
