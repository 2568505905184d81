package presence

import (
	"container/list"
	"encoding/json"
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// Topics are spread over several locks for each core, so that they seldom wait for each other: a power of two, up to
// maxStripes. On two cores a tracker that tracks nothing costs less than 1 KiB.
const (
	stripesPerCore = 4
	maxStripes     = 64
)

// Tracker holds presences by topic. Its methods may be called from any goroutine, but not from
// a [Broadcaster] or from [Channel].Push.
type Tracker struct {
	// Static after New.
	broadcaster Broadcaster
	options     Options
	seed        maphash.Seed
	chunkBytes  int // tests have it small
	maxPayload  int // the same
	pace        pace
	again       func(channel any) error // PushState
	fetcher     *fetcher                // nil without Fetch

	refs     refSource
	timers   sync.WaitGroup           // armed or running window timers, and the goroutine of watch
	watch    *watch                   // nil without HandleMetas
	observer atomic.Pointer[Observer] // nil: nobody observes
	stripes  []stripe
}

// stripe is a share of the topics and of the channels that track in them. It fills a cache line, so that its lock shares none
// with another. Lock order: one stripe at a time, then whatever Broadcaster and Channel take for themselves.
type stripe struct {
	mu sync.Mutex

	// Guarded by mu. Both maps are nil until they are needed.
	topics map[string]*topic  // none is without entries, unless it waits for Fetch
	owners map[Channel]*owner // channels that have tracked something and have not ended
	closed bool
	diff   prepared.Diff // the one that is being broadcast
}

// New returns a tracker that sends its diffs through b; [Tracker.Close] ends it. It panics
// if Options.Replicator has a tracker already.
func New(b Broadcaster, o Options) *Tracker {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Tracker{broadcaster: b, options: o, seed: maphash.MakeSeed(), chunkBytes: defaultChunkBytes, maxPayload: maxPayload, pace: defaultPace}
	t.refs.node, t.refs.now = o.Node, o.Now
	t.fetcher = newFetcher(&t.options)
	if o.HandleMetas != nil {
		t.watch = &watch{waiting: make(map[string]*list.Element), handle: o.HandleMetas, report: t.report, ended: t.timers.Done}
	}
	t.again = func(channel any) error { return t.PushState(channel.(Channel)) }
	t.stripes = make([]stripe, stripesFor(runtime.GOMAXPROCS(0)))
	if o.Replicator != nil {
		node, err := o.Replicator.Open(t)
		if err != nil {
			panic(err)
		}
		t.refs.node = node
	}
	return t
}

// stripesFor returns the number of stripes for a number of cores.
func stripesFor(cores int) int {
	return min(maxStripes, 1<<bits.Len(uint(stripesPerCore*cores-1)))
}

func (t *Tracker) stripe(topic string) *stripe {
	return &t.stripes[maphash.String(t.seed, topic)&uint64(len(t.stripes)-1)]
}

// Track adds a presence of c under key to c's topic, and returns its phx_ref. It ends when c untracks the key or ends. The meta
// must encode to a JSON object; a [json.RawMessage] is taken as it is. Its members phx_ref and phx_ref_prev are
// dropped, because the tracker sets them. Several channels may track the same key.
func (t *Tracker) Track(c Channel, key string, meta any) (ref string, err error) {
	scratch := getBuffer()
	defer putBuffer(scratch)
	members, err := encodeMeta(scratch, key, meta)
	if err != nil {
		return "", err
	}
	name := c.Topic()
	s := t.stripe(name)
	o, err := t.own(s, c)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.ended:
		return "", ErrChannelEnded
	case s.closed:
		return "", ErrClosed
	}
	tp := s.topics[name]
	if tp != nil && tp.find(&o.holder, key) != nil {
		return "", ErrAlreadyTracked
	}
	encoded := buildMeta(t.refs.next(), "", members)
	if tp == nil {
		tp = t.newTopic(name, t.sendsDiffs(name))
		s.add(tp) // after all calls of functions of Options, which may panic: no topic is without entries
	}
	p := tp.join(&o.holder, key, encoded)
	t.settle(s, tp)
	return refOf(p.meta), nil
}

// Update replaces the meta that c tracks under key, and returns the new phx_ref. The ref that clients know becomes the
// phx_ref_prev. An equal meta is an update too, as in Phoenix.
func (t *Tracker) Update(c Channel, key string, meta any) (ref string, err error) {
	scratch := getBuffer()
	defer putBuffer(scratch)
	members, err := encodeMeta(scratch, key, meta)
	if err != nil {
		return "", err
	}
	ref, _, err = t.replace(c, key, "", members)
	return ref, err
}

// UpdateFunc updates the meta to what f returns for the present one, which includes its phx_ref. f is called without a
// lock, and again if the meta has changed meanwhile.
func (t *Tracker) UpdateFunc(c Channel, key string, f func(meta json.RawMessage) any) (ref string, err error) {
	scratch := getBuffer()
	defer putBuffer(scratch)
	name := c.Topic()
	s := t.stripe(name)
	for {
		s.mu.Lock()
		p, err := s.find(name, c, key)
		if err != nil {
			s.mu.Unlock()
			return "", err
		}
		before := p.meta
		s.mu.Unlock()

		members, err := encodeMeta(scratch, key, f(json.RawMessage(before)))
		if err != nil {
			return "", err
		}
		ref, done, err := t.replace(c, key, before, members)
		if done || err != nil {
			return ref, err
		}
	}
}

// replace replaces the meta of c under key with members. It does nothing and returns false if before is neither "" nor
// the present meta.
func (t *Tracker) replace(c Channel, key, before string, members []byte) (ref string, done bool, err error) {
	name := c.Topic()
	s := t.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.find(name, c, key)
	if err != nil {
		return "", false, err
	}
	if before != "" && p.meta != before {
		return "", false, nil
	}
	tp := s.topics[name]
	// Do not name a ref that clients were never told of: they could not find it.
	prev := sent(tp, p)
	if prev != "" {
		prev = refOf(prev)
	}
	tp.set(p, buildMeta(t.refs.next(), prev, members))
	t.settle(s, tp)
	return refOf(p.meta), true, nil
}

// Untrack removes the presence of c under key. It does nothing if there is none.
func (t *Tracker) Untrack(c Channel, key string) {
	name := c.Topic()
	s := t.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, err := s.find(name, c, key); err == nil {
		tp := s.topics[name]
		tp.leave(p)
		t.settle(s, tp)
	}
}

// UntrackAll removes all presences of c with one diff. It is called when c ends.
func (t *Tracker) UntrackAll(c Channel) {
	s := t.stripe(c.Topic())
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.owners[c]; o != nil {
		t.untrackAll(s, o)
	}
}

// untrackAll removes everything that o has tracked; the stripe is locked.
func (t *Tracker) untrackAll(s *stripe, o *owner) {
	if o.first == nil {
		return
	}
	tp := s.topics[o.channel.Topic()]
	for o.first != nil {
		tp.leave(o.first)
	}
	t.settle(s, tp)
}

func (t *Tracker) sendsDiffs(topic string) bool {
	return t.options.Diffs == nil || t.options.Diffs(topic)
}

func (s *stripe) add(tp *topic) {
	if s.topics == nil {
		s.topics = make(map[string]*topic)
	}
	s.topics[tp.name] = tp
}

// find returns the presence of c under key, or an error that says why there is none; the stripe is locked.
func (s *stripe) find(topic string, c Channel, key string) (*presence, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if o := s.owners[c]; o != nil && o.first != nil {
		if p := s.topics[topic].find(&o.holder, key); p != nil {
			return p, nil
		}
	}
	return nil, ErrNotTracked
}

// Flush ends the windows that are open and sends their diffs.
func (t *Tracker) Flush() {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for _, tp := range s.topics {
			t.flush(s, tp)
		}
		s.mu.Unlock()
	}
}

// Close sends what waits for the end of a window or for Fetch, and removes all presences without a diff. Other nodes are
// told that this node's presences have left. Close waits for HandleMetas, which is told of all changes, but not
// for Fetch. Track and Update then return ErrClosed. Close may be called more than once.
func (t *Tracker) Close() {
	if t.fetcher != nil {
		t.fetcher.stop()
	}
	t.Flush()
	r := t.options.Replicator
	if r != nil {
		r.Close(t)
	}
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		s.closed = true
		for _, tp := range s.topics {
			t.flush(s, tp) // changed between Flush and closed
			if tp.fetch != nil {
				t.pushStates(tp, len(tp.fetch.states))
			}
		}
		s.mu.Unlock()
	}
	if r != nil {
		t.Own(func(topic, key, meta string) { r.Leave(topic, key, refOf(meta)) })
	}
	if at := t.observer.Load(); at != nil {
		t.Own((*at).PresenceLeft)
	}
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		clear(s.topics)
		clear(s.owners)
		s.mu.Unlock()
	}
	t.timers.Wait()
}
