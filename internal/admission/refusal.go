package admission

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Refusal is the HTTP answer to a client that is not let in. Functions that may
// refuse return a pointer, and only nil admits. A Refusal does not change.
type Refusal struct {
	Status int
	Header http.Header
	Body   string
}

// Answers without a body.
var (
	BadRequest = &Refusal{Status: http.StatusBadRequest}
	Forbidden  = &Refusal{Status: http.StatusForbidden}
	Crashed    = &Refusal{Status: http.StatusInternalServerError} // a function of the application panicked
)

// Unavailable is a 503 without a body. Its Retry-After is a random number of seconds,
// from least to three times as much, so that those who are refused together do not
// come back together. Browsers do not show it to a page: docs/operations.md has the
// pauses that phoenix.js needs instead.
func Unavailable(least time.Duration) *Refusal {
	seconds := max(1, int((least+time.Second-1)/time.Second))
	seconds += rand.IntN(2*seconds + 1)
	return &Refusal{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}}}
}

// TextRefusal is an answer with a body of plain text.
func TextRefusal(status int, body string) *Refusal {
	return &Refusal{Status: status, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: body}
}

// Malformed is the answer to a request that package websocket refuses with err.
func Malformed(err error) *Refusal {
	var wrong *websocket.HandshakeError
	if errors.As(err, &wrong) {
		return &Refusal{Status: wrong.Status, Header: wrong.Header(), Body: wrong.Reason}
	}
	return BadRequest
}

// Bytes returns the answer as a whole HTTP/1.1 response that ends the connection.
func (r *Refusal) Bytes() []byte {
	return websocket.AppendRefusal(nil, r.Status, r.Header, []byte(r.Body))
}

// Write answers a request of net/http.
func (r *Refusal) Write(w http.ResponseWriter) {
	for name, values := range r.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.Status)
	w.Write([]byte(r.Body)) //nolint:errcheck // the client may be gone
}

// Refusals counts what was refused, by reason.
type Refusals struct {
	Limit     atomic.Int64 // a limit of a Gate
	Malformed atomic.Int64 // no request that could become a socket's
	Origin    atomic.Int64 // the page may not connect
	Protocol  atomic.Int64 // no subprotocol that both know, or a token that is no base64
	Version   atomic.Int64 // of the protocol
	Denied    atomic.Int64 // by the application
	Crashed   atomic.Int64 // the application panicked
}
