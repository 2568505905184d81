package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

// isIdempotent reports whether requests for the operation may have an
// Idempotency-Key.
func (o *operation) isIdempotent() bool {
	return slices.ContainsFunc(o.header, func(p parameter) bool { return p.name == idempotencyKey.name })
}

// once carries out an operation that may have an Idempotency-Key. The same request once
// more is answered as the first was, and does nothing, whichever node of a cluster it is
// sent to. A key belongs to one caller and to one instance, not to another that is given
// the same id later.
func (a *API) once(w http.ResponseWriter, r *request, o *operation) error {
	key := r.Header.Get(idempotencyKey.name)
	switch {
	case key == "":
		return o.handle(w, r)
	case len(key) > maxName:
		return problem(http.StatusBadRequest, "idempotency-key", "Invalid Idempotency-Key", "it has %d bytes, at most %d are allowed", len(key), maxName)
	}
	i, err := a.manager.Get(r.id)
	if err != nil {
		return err
	}
	var elsewhere *instances.ElsewhereError
	if _, err := a.manager.Life(r.id); errors.As(err, &elsewhere) {
		return err // its node remembers the key
	}
	q := repeat{Caller: r.who.key.Name, Key: identityOf(&i) + "\x00" + key, Sum: sha256.Sum256(append([]byte(o.id+"\x00"), r.body...))}
	if !a.isPart(r) && a.manager.Spreads(r.id) {
		if answered, err := a.askHome(w, r, &q); answered || err != nil {
			return err
		}
	}
	given, again, err := a.replays.once(&q, func() (*recorded, bool, error) {
		if known, err := a.askOthers(r, &q); known != nil || err != nil {
			return known, true, err
		}
		first := newRecorded()
		if err := o.handle(first, r); err != nil {
			return first, false, err
		}
		q.Answer = first.kept()
		a.tellOthers(r, &q)
		return first, false, nil
	})
	if err != nil {
		return err
	}
	if again {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	given.writeTo(w)
	return nil
}

// identityOf names an instance on all nodes, and after a restart.
func identityOf(i *instances.Info) string {
	if i.Declared {
		return i.ID
	}
	return fmt.Sprintf("%s\x00%d", i.ID, i.Created.UnixNano())
}

// recorded is an answer that is kept. It is an http.ResponseWriter until it is complete.
type recorded struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newRecorded() *recorded { return &recorded{status: http.StatusOK, header: make(http.Header)} }

// Header implements http.ResponseWriter.
func (a *recorded) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *recorded) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *recorded) Write(b []byte) (int, error) { return a.body.Write(b) }

// keptAnswer is an answer in a file, and on its way to another node.
type keptAnswer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

func (a *recorded) kept() *keptAnswer {
	return &keptAnswer{a.status, a.header, a.body.Bytes()}
}

func (k *keptAnswer) recorded() *recorded {
	a := &recorded{status: k.Status, header: k.Header}
	if a.header == nil {
		a.header = make(http.Header)
	}
	a.body.Write(k.Body)
	return a
}

func (a *recorded) writeTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes()) //nolint:errcheck // the caller may be gone
}

// replays remembers the requests that came with an Idempotency-Key, and their answers.
type replays struct {
	// Static.
	now  func() time.Time
	file *replayFile // nil: they end with the process

	mu    sync.Mutex
	by    map[string]*remembered // guarded by mu: by caller
	count int                    // guarded by mu: of all order
	bytes int                    // guarded by mu: of their answers
}

// remembered is what one caller has sent. Guarded by replays.mu.
type remembered struct {
	seen  map[string]*replay
	order []*replay // oldest first
}

type replay struct {
	// Static.
	key  string
	sum  [sha256.Size]byte // of the operation and the body
	at   time.Time
	done chan struct{} // closed when the rest is known

	answer *recorded
	err    error

	// Guarded by replays.mu.
	size      int  // of the answer's body, once it is counted
	forgotten bool // it is no longer in an order
}

const (
	// replayFor is how long a key is remembered: longer than anybody retries.
	replayFor = 10 * time.Minute
	// maxReplays bounds how many are, about 300 bytes each without the bodies of answers;
	// above it the oldest of the caller that has the most are forgotten early.
	maxReplays = 100_000
	// maxReplayBytes bounds the bodies of the answers in the same way.
	maxReplayBytes = 16 << 20
)

// once runs act unless it has succeeded for the caller's key before; again reports
// whether it had, or act says so. Of two at the same time, the second waits for the first.
// A request that failed is forgotten: it may be tried again. Another request under the same
// key is a mistake of the caller.
func (p *replays) once(q *repeat, act func() (_ *recorded, again bool, err error)) (_ *recorded, again bool, err error) {
	r, first := p.take(q.Caller, q.Key, q.Sum)
	if !first {
		if r.sum != q.Sum {
			return nil, false, errKeyTwice
		}
		<-r.done
		return r.answer, r.err == nil, r.err
	}
	r.err = errNotDone
	defer func() { // also if act panics
		if r.err == nil {
			p.weigh(r)
			p.file.keep(&repeat{q.Caller, q.Key, q.Sum, r.at, r.answer.kept()}, p.all)
		}
		close(r.done)
		if r.err != nil {
			p.forget(q.Caller, r)
		}
	}()
	r.answer, again, r.err = act()
	return r.answer, again, r.err
}

// errNotDone is what a request that has panicked leaves to those that waited for it.
var errNotDone = errors.New("httpapi: the first request with this Idempotency-Key has failed")

// errKeyTwice is the mistake of a caller that uses a key for two requests.
var errKeyTwice = problem(http.StatusUnprocessableEntity, "idempotency-key", "Idempotency-Key used twice",
	"this key came with another request before: use a new key for each")

// learn remembers a request that another node, or a process before this one, has carried
// out. news reports whether it was not known.
func (p *replays) learn(q *repeat) (news bool) {
	if p.now().Sub(q.At) > replayFor || q.Answer == nil {
		return false
	}
	r, first := p.take(q.Caller, q.Key, q.Sum)
	if !first {
		return false
	}
	r.answer = q.Answer.recorded()
	p.weigh(r)
	close(r.done)
	return true
}

// find returns what is known of a request; nil: nothing. It waits until one that is being
// carried out has been.
func (p *replays) find(ctx context.Context, q *repeat) (*recorded, error) {
	p.mu.Lock()
	var r *replay
	if c := p.by[q.Caller]; c != nil {
		r = c.seen[q.Key]
	}
	p.mu.Unlock()
	switch {
	case r == nil || p.now().Sub(r.at) > replayFor:
		return nil, nil
	case r.sum != q.Sum:
		return nil, errKeyTwice
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.err != nil {
		return nil, nil //nolint:nilerr // it has failed, and may be tried again
	}
	return r.answer, nil
}

// all returns what has been carried out, the oldest first.
func (p *replays) all() (list []*repeat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for caller, c := range p.by {
		for _, r := range c.order {
			select {
			case <-r.done:
				if r.err == nil {
					list = append(list, &repeat{caller, r.key, r.sum, r.at, r.answer.kept()})
				}
			default:
			}
		}
	}
	slices.SortFunc(list, func(a, b *repeat) int { return a.At.Compare(b.At) })
	return list
}

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
	r = &replay{key: key, sum: sum, at: now, done: make(chan struct{})}
	c.seen[key] = r
	c.order = append(c.order, r)
	p.count++
	return r, true
}

// weigh counts the answer of a request that has been carried out.
func (p *replays) weigh(r *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.forgotten {
		r.size = r.answer.body.Len()
		p.bytes += r.size
	}
}

// forgetOld makes room for one more. There are as many callers as API keys: few.
func (p *replays) forgetOld(now time.Time) {
	for _, c := range p.by {
		for len(c.order) > 0 && now.Sub(c.order[0].at) > replayFor {
			p.drop(c)
		}
	}
	for p.count >= maxReplays || p.bytes > maxReplayBytes {
		p.drop(p.most())
	}
}

// most returns the caller that has the most.
func (p *replays) most() (most *remembered) {
	for _, c := range p.by {
		if most == nil || len(c.order) > len(most.order) {
			most = c
		}
	}
	return most
}

// drop forgets the oldest of a caller.
func (p *replays) drop(c *remembered) {
	oldest := c.order[0]
	if c.seen[oldest.key] == oldest {
		delete(c.seen, oldest.key)
	}
	c.order[0] = nil
	c.order = c.order[1:]
	p.count--
	p.bytes -= oldest.size
	oldest.forgotten = true
}

func (p *replays) forget(caller string, r *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.by[caller]; c.seen[r.key] == r {
		delete(c.seen, r.key)
	}
}
