package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

// Nodes of a cluster carry out a request with an Idempotency-Key once together. All of them
// send it to the same node, the first in an order of nodes that follows from the key; the node
// that runs an instance alone has its requests anyway. That node asks the next one in the order
// whether it knows the key, because it may have been the first a moment ago, and tells it what
// it has answered, because it will be the first if this one goes. So a request is carried out
// twice only if nodes disagree about who is there while it is repeated.

// repeat is a request with an Idempotency-Key, as nodes tell each other of it, and as it is
// kept in a file.
type repeat struct {
	Caller string      `json:"caller"`
	Key    string      `json:"key"` // with the identity of the instance
	Sum    sum         `json:"sum"` // of the operation and the body
	At     time.Time   `json:"at,omitzero"`
	Answer *keptAnswer `json:"answer,omitempty"` // nil: asks for it
}

// sum is a SHA-256 that is base64 in JSON.
type sum [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (s sum) MarshalText() ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, s[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *sum) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(b) != len(s) {
		return errors.New("not a SHA-256")
	}
	copy(s[:], b)
	return nil
}

const (
	// repeatPath is where nodes tell each other of requests. It is not for clients.
	repeatPath = Prefix + "/repeats"
	// askFor is how long a node is waited for: longer only if it is carrying out the request.
	askFor = 3 * time.Second
	// maxAsked is how many nodes are tried until one answers, which bounds how long a request waits.
	maxAsked = 2
)

// peersFor returns the other nodes of the cluster in the order for a key.
func (a *API) peersFor(key string) []Peer {
	if a.options.Peers == nil {
		return nil
	}
	peers := a.options.Peers()
	slices.SortFunc(peers, func(x, y Peer) int { return compareFor(key, x.Name, y.Name) })
	return peers
}

// compareFor compares two nodes in the order for a key.
func compareFor(key, x, y string) int {
	weight := func(node string) uint64 {
		h := sha256.Sum256([]byte(node + "\x00" + key))
		return binary.BigEndian.Uint64(h[:])
	}
	return cmp.Or(cmp.Compare(weight(y), weight(x)), cmp.Compare(x, y))
}

// askHome has the first node for a key answer the request, unless that is this one or cannot
// be asked.
func (a *API) askHome(w http.ResponseWriter, r *request, q *repeat) (answered bool, err error) {
	peers := a.peersFor(q.Key)
	if len(peers) == 0 || compareFor(q.Key, a.options.Node, peers[0].Name) < 0 {
		return false, nil
	}
	forwarded := r.Clone(r.Context())
	forwarded.Body, forwarded.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	given := newRecorded()
	if !peers[0].Ask(given, forwarded, q.Caller) || given.status == http.StatusNotFound {
		return false, nil // it does not know the instance yet, or is gone
	}
	if given.status == http.StatusOK && len(given.header) == 0 { // it has not answered in time
		return false, cmp.Or(r.Context().Err(), error(errNotAnswered))
	}
	given.writeTo(w)
	return true, nil
}

// errNotAnswered is returned if a node may have carried out a request, and has not said so.
var errNotAnswered = problem(http.StatusServiceUnavailable, "node", "A node has not answered",
	"the node that carries out requests with this Idempotency-Key has not answered: send the request again").with("Retry-After", "1")

// askOthers returns what the next node in the order for a key knows of a request; nil: nothing.
func (a *API) askOthers(r *request, q *repeat) (*recorded, error) {
	var known repeatAnswer
	if !a.tell(r, q, &known) {
		return nil, nil
	}
	if known.Other {
		return nil, errKeyTwice
	}
	if known.Answer == nil {
		return nil, nil
	}
	return known.Answer.recorded(), nil
}

// tellOthers tells the next node in the order for a key what a request was answered.
func (a *API) tellOthers(r *request, q *repeat) {
	told := *q
	told.At = a.options.Now()
	a.tell(r, &told, new(repeatAnswer))
}

// tell sends a repeat to the first node that answers.
func (a *API) tell(r *request, q *repeat, into *repeatAnswer) bool {
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // texts and numbers can be encoded
	}
	peers := a.peersFor(q.Key)
	for _, p := range peers[:min(len(peers), maxAsked)] {
		// A caller that goes does not end this: the request has been carried out, or will be.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askFor)
		ask := r.Clone(ctx)
		ask.Method, ask.URL.Path, ask.URL.RawPath, ask.URL.RawQuery = http.MethodPost, repeatPath, "", ""
		ask.Header = http.Header{"Content-Type": {jsonType}}
		ask.Body, ask.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		w := newRecorded()
		answered := p.Ask(w, ask, q.Caller) && w.status == http.StatusOK && json.Unmarshal(w.body.Bytes(), into) == nil
		cancel()
		if answered {
			return true
		}
	}
	return false
}

// repeatAnswer is what a node knows of a request.
type repeatAnswer struct {
	Answer *keptAnswer `json:"answer,omitempty"` // nil: nothing
	Other  bool        `json:"other,omitempty"`  // the key came with another request
}

// serveRepeat answers another node.
func (a *API) serveRepeat(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var q repeat
	if err := json.Unmarshal(body, &q); err != nil {
		return problem(http.StatusBadRequest, "malformed", "Malformed JSON", "the body is not a request: %v", err)
	}
	q.Caller = a.options.Caller(r)
	var known repeatAnswer
	if q.Answer != nil {
		if a.replays.learn(&q) {
			a.replays.file.keep(&q, a.replays.all)
		}
		return answer(w, http.StatusOK, known)
	}
	switch given, err := a.replays.find(r.Context(), &q); {
	case errors.Is(err, errKeyTwice):
		known.Other = true
	case err != nil:
		return err
	case given != nil:
		known.Answer = given.kept()
	}
	return answer(w, http.StatusOK, known)
}
