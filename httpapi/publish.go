package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// broadcastRequest is an event for all who have joined a topic.
type broadcastRequest struct {
	Topic   string          `json:"topic" jsonschema:"required,minLength=1,maxLength=255"`
	Event   string          `json:"event" jsonschema:"required,minLength=1,maxLength=255"`
	Payload json.RawMessage `json:"payload" jsonschema:"type=object"` // the default is {}
}

// disconnectRequest names sockets that are closed.
type disconnectRequest struct {
	// SocketID is the id that sockets were given when they connected.
	SocketID string `json:"socket_id" jsonschema:"required,minLength=1"`
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

func (b *broadcastRequest) check() error {
	for _, f := range []struct{ pointer, value string }{{"/topic", b.Topic}, {"/event", b.Event}} {
		if f.value == "" || len(f.value) > maxName {
			return fielderr.New(f.pointer, "must be 1 to %d bytes", maxName)
		}
	}
	if prefix := channels.ReservedEvent(b.Event); prefix != "" {
		return fielderr.New("/event", "begins with %s, which clients take for the server's own: choose another name", prefix)
	}
	return nil
}

// broadcast sends an event to a topic of an instance. With an Idempotency-Key
// the same request once more is answered as the first was, and sends nothing.
func (a *API) broadcast(w http.ResponseWriter, r *request) error {
	var b broadcastRequest
	if err := r.decode(&b); err != nil {
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
		return problem(http.StatusBadRequest, "idempotency-key", "Invalid Idempotency-Key", "it has %d bytes, at most %d are allowed", len(key), maxName)
	}
	send := func() error { return a.manager.Broadcast(r.id, b.Topic, b.Event, b.Payload) }
	var err error
	if key == "" {
		err = send()
	} else {
		var again bool
		again, err = a.replay(r, key, send)
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
func (a *API) replay(r *request, key string, send func() error) (again bool, err error) {
	i, err := a.manager.Get(r.id)
	if err != nil {
		return false, err
	}
	return a.replays.once(r.who.key.Name, fmt.Sprintf("%d\x00%s", i.Incarnation, key), r.body, send)
}

// disconnect closes the sockets of an id; their clients come back.
func (a *API) disconnect(w http.ResponseWriter, r *request) error {
	var body disconnectRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	if body.SocketID == "" {
		return fielderr.New("/socket_id", "is needed: the id that the sockets were given when they connected, like users_socket:42")
	}
	if err := a.manager.Disconnect(r.id, body.SocketID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
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

// replays remembers the requests that came with an Idempotency-Key.
type replays struct {
	now func() time.Time // static

	mu    sync.Mutex
	by    map[string]*remembered // guarded by mu: by caller
	count int                    // guarded by mu: of all order
}

// remembered is what one caller has sent. Guarded by replays.mu.
type remembered struct {
	seen  map[string]*replay
	order []*replay // oldest first
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
	// of the caller that has the most are forgotten early.
	maxReplays = 100_000
)

// once runs send unless it has succeeded for the caller's key before; again
// reports whether it had. Of two at the same time, the second waits for the first. A
// request that failed is forgotten: it may be tried again. Another body under the
// same key is a mistake of the caller.
func (p *replays) once(caller, key string, body []byte, send func() error) (again bool, err error) {
	sum := sha256.Sum256(body)
	r, first := p.take(caller, key, sum)
	if !first {
		if r.body != sum {
			return false, problem(http.StatusUnprocessableEntity, "idempotency-key", "Idempotency-Key used twice",
				"this key came with another body before: use a new key for each broadcast")
		}
		<-r.done
		return r.err == nil, r.err
	}
	r.err = errNotSent
	defer func() { // also if send panics
		close(r.done)
		if r.err != nil {
			p.forget(caller, r)
		}
	}()
	r.err = send()
	return false, r.err
}

// errNotSent is what a request whose send has panicked leaves to those that waited
// for it.
var errNotSent = errors.New("httpapi: the first request with this Idempotency-Key has failed")

func (p *replays) take(caller, key string, sum [sha256.Size]byte) (r *replay, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	c := p.by[caller]
	if c == nil {
		if p.by == nil {
			p.by = make(map[string]*remembered)
		}
		c = &remembered{seen: make(map[string]*replay)}
		p.by[caller] = c
	}
	p.forgetOld(now)
	if r := c.seen[key]; r != nil {
		return r, false
	}
	r = &replay{key: key, body: sum, at: now, done: make(chan struct{})}
	c.seen[key] = r
	c.order = append(c.order, r)
	p.count++
	return r, true
}

// forgetOld makes room for one more. There are as many callers as API keys: few.
func (p *replays) forgetOld(now time.Time) {
	var most *remembered
	for _, c := range p.by {
		for len(c.order) > 0 && now.Sub(c.order[0].at) > replayFor {
			p.drop(c)
		}
		if most == nil || len(c.order) > len(most.order) {
			most = c
		}
	}
	if p.count >= maxReplays {
		p.drop(most)
	}
}

// drop forgets the oldest of a caller.
func (p *replays) drop(c *remembered) {
	if oldest := c.order[0]; c.seen[oldest.key] == oldest {
		delete(c.seen, oldest.key)
	}
	c.order[0] = nil
	c.order = c.order[1:]
	p.count--
}

func (p *replays) forget(caller string, r *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.by[caller]; c.seen[r.key] == r {
		delete(c.seen, r.key)
	}
}
