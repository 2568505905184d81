package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/wire"
)

// defaultFetchTimeout bounds a call of Options.Fetch: half of the 10 s after which phoenix.js gives up waiting for a reply.
const defaultFetchTimeout = 5 * time.Second

// Bounds of the calls of Options.Fetch.
const (
	fetchKeys  = 500      // keys of one call: so many with news for clients, and so many for a state
	fetchMetas = 100      // metas of one key
	fetchCalls = 64       // calls of a tracker at a time, those that have overstayed included
	maxFetched = 32 << 10 // bytes of JSON that may be added to one key
)

// fetcher calls Options.Fetch. Calls run on goroutines of their own and without a lock.
type fetcher struct {
	// Static after New.
	fetch   func(ctx context.Context, topic string, presences map[string]Entry) (map[string]any, error)
	timeout time.Duration
	keys    int               // fetchKeys; tests have it small
	slots   chan struct{}     // one for each running call
	spawn   func(task func()) // runs a task on a goroutine of its own; tests run it when they want to
	ctx     context.Context   // done when the tracker closes
	stop    context.CancelFunc
}

func newFetcher(o *Options) *fetcher {
	if o.Fetch == nil {
		return nil
	}
	f := &fetcher{fetch: o.Fetch, timeout: o.FetchTimeout, keys: fetchKeys, slots: make(chan struct{}, fetchCalls)}
	if f.timeout <= 0 {
		f.timeout = defaultFetchTimeout
	}
	f.spawn = func(task func()) { go task() }
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// stopped reports whether nothing may wait for a call from now on.
func (f *fetcher) stopped() bool { return f.ctx.Err() != nil }

var (
	errFetchExited  = errors.New("presence: Fetch ended its goroutine")
	errFetchTimeout = errors.New("presence: Fetch took too long")
	errNotObject    = errors.New("not a JSON object")
)

// answer is the result of one call.
type answer struct {
	found map[string]any
	err   error
}

// ask returns what Fetch adds to each of the presences, in the form of addition.members; "" for a key that it leaves out. A
// key for which it failed is missing, and err says why. If it failed as a whole, the map is nil.
func (f *fetcher) ask(topic string, presences map[string]Entry) (members map[string]string, err error) {
	if len(presences) == 0 || f.stopped() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.timeout)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, f.late()
	}
	done := make(chan answer, 1)
	go f.run(ctx, topic, presences, done)
	select {
	case a := <-done:
		if a.err != nil {
			return nil, a.err
		}
		return f.encode(presences, a.found)
	case <-ctx.Done():
		return nil, f.late()
	}
}

// late is the error for a call that nobody waits for now. It is nil if that is because the tracker closes.
func (f *fetcher) late() error {
	if f.stopped() {
		return nil
	}
	return errFetchTimeout
}

// run makes one call. It keeps its slot until Fetch returns, however late that is.
func (f *fetcher) run(ctx context.Context, topic string, presences map[string]Entry, done chan<- answer) {
	a := answer{err: errFetchExited}
	defer func() { // also after runtime.Goexit
		<-f.slots
		done <- a
	}()
	a = f.call(ctx, topic, presences)
}

func (f *fetcher) call(ctx context.Context, topic string, presences map[string]Entry) (a answer) {
	defer callback.Recover("Fetch", &a.err)
	a.found, a.err = f.fetch(ctx, topic, presences)
	if a.err != nil {
		a.err = fmt.Errorf("presence: Fetch: %w", a.err)
	}
	return a
}

// encode encodes the values that Fetch has returned. What it returned for keys that it was not asked about is ignored.
func (f *fetcher) encode(presences map[string]Entry, found map[string]any) (members map[string]string, err error) {
	members = make(map[string]string, len(presences))
	scratch := getBuffer()
	defer putBuffer(scratch)
	failed := 0
	for key := range presences {
		one, keyErr := encodeFetched(scratch, found[key])
		if keyErr == nil {
			members[key] = one
			continue
		}
		if failed++; failed == 1 {
			err = fmt.Errorf("presence: Fetch: value of key %q: %w", key, keyErr)
		}
	}
	if failed > 1 {
		err = fmt.Errorf("%w (and %d more keys)", err, failed-1)
	}
	return members, err
}

// encodeFetched returns the members of v, each with a comma before it, without "metas", which only the tracker sets. A v
// that encodes to null has none.
func encodeFetched(scratch *[]byte, v any) (members string, err error) {
	if v == nil {
		return "", nil
	}
	if raw, ok := v.(json.RawMessage); ok {
		*scratch = append((*scratch)[:0], raw...)
	} else if *scratch, err = appendJSON((*scratch)[:0], v); err != nil {
		return "", err
	}
	object, err := wire.Validate(*scratch)
	switch {
	case err != nil:
		return "", err
	case string(object) == "null":
		return "", nil
	case !wire.IsObject(object):
		return "", errNotObject
	}
	list := dropMembers(object[1:len(object)-1], "metas", func(key string) bool { return key == "metas" })
	switch {
	case len(list) == 0:
		return "", nil
	case len(list) > maxFetched:
		return "", fmt.Errorf("%d bytes of JSON, more than %d", len(list), maxFetched)
	}
	return "," + string(list), nil
}
