package natsstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/history"
)

// JetStream is JetStream over a connection, as package jetstream has it.
type JetStream = jetstream.JetStream

// Options configure [New].
type Options struct {
	// Open connects to JetStream, over a connection that the Stream then owns. It is
	// called again whenever the stream cannot be used, and not before a rule is durable.
	Open func() (JetStream, error)
	// Health, if not nil, returns why JetStream cannot write. It is called while messages are
	// not answered, because JetStream says nothing to their senders if it cannot write. The
	// stream is then opened again.
	Health func() error
	// Replicas returns how many servers keep the stream, if this process makes it. nil
	// means one.
	Replicas func() int
	// Name is the name of the stream: letters, digits, _ and -. The default is
	// DefaultName.
	Name string
	// Prefix begins the stream's subjects. The default is DefaultPrefix.
	Prefix string
	// MaxBytes bounds the stream, in bytes. A message that does not fit is refused. The
	// default is DefaultMaxBytes. It is applied to a stream that exists too.
	MaxBytes int64
	// Timeout is how long JetStream may take to say that a message is stored. The default
	// is 5 s.
	Timeout time.Duration
	// OnTrouble, if not nil, is called when the stream cannot be used, and with nil when
	// it can again. It is called on one goroutine, again only if the text has changed.
	OnTrouble func(err error)
}

// Defaults of [Options].
const (
	DefaultName     = "mycelium_history"
	DefaultPrefix   = "mycelium.history"
	DefaultMaxBytes = 1 << 30
	defaultTimeout  = 5 * time.Second
)

// Stream is a [history.Durable].
type Stream struct {
	// Static after New.
	store     *history.Store
	options   Options
	publisher publisher
	trims     trims
	ctx       context.Context // of the goroutines
	cancel    context.CancelFunc
	loaded    chan struct{} // closed when the store has what was in the stream

	wanted    atomic.Bool   // Open was called
	malformed atomic.Uint64 // entries that cannot be read
	running   sync.WaitGroup

	current atomic.Pointer[access] // nil: not open now

	// Owned by the goroutine that follows the stream.
	log history.LogID // of the stream; 0: none yet

	mu      sync.Mutex
	trouble error // guarded by mu
	closed  bool  // guarded by mu: no goroutine may be started
}

// access is an open stream.
type access struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

var _ history.Durable = (*Stream)(nil)

// New returns a stream for a store, which has no spaces yet.
func New(store *history.Store, o Options) *Stream {
	o.Name, o.Prefix = cmp.Or(o.Name, DefaultName), cmp.Or(o.Prefix, DefaultPrefix)
	o.MaxBytes, o.Timeout = cmp.Or(o.MaxBytes, DefaultMaxBytes), cmp.Or(o.Timeout, defaultTimeout)
	s := &Stream{store: store, options: o, loaded: make(chan struct{}), trouble: errOpening}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.publisher.init(o.Timeout, o.Health)
	store.Persist(s)
	return s
}

// Errors for messages that are not stored.
var (
	errOpening = errors.New("JetStream is not open yet")
	errReading = errors.New("what is stored is being read")
	errClosed  = errors.New("the server stops")
	errBusy    = errors.New("too many messages wait to be stored")
	errSilent  = errors.New("JetStream does not answer")
	errAbsent  = errors.New("JetStream is not available, or has no leader")
	errNoRoom  = errors.New("the disk has less free space than durable messages may take; lower history.disk or free some space")
	errFull    = errors.New("the disk space for durable messages is used up")
	errNoSpace = errors.New("the disk is full")
	errBroken  = errors.New("JetStream cannot write")
)

// Open implements [history.Durable].
func (s *Stream) Open() {
	if s.wanted.Swap(true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(s.run)
		s.running.Go(func() { s.publisher.serve(s.ctx) })
		s.running.Go(s.trimAgainAndAgain)
	}
}

// Loaded waits until the store has what was in the stream. It returns why not if ctx is
// done before.
func (s *Stream) Loaded(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-ctx.Done():
	}
	if err := s.Trouble(); err != nil {
		return fmt.Errorf("natsstream: %w", err)
	}
	return fmt.Errorf("natsstream: reading what is stored: %w", ctx.Err())
}

// Trouble returns why the stream cannot be used, nil if it can or if no rule is durable.
func (s *Stream) Trouble() error {
	if !s.Wanted() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// Wanted reports whether a rule has been durable.
func (s *Stream) Wanted() bool { return s.wanted.Load() }

func (s *Stream) setTrouble(err error) {
	s.mu.Lock()
	changed := (err == nil) != (s.trouble == nil) || err != nil && err.Error() != s.trouble.Error()
	s.trouble = err
	s.mu.Unlock()
	if changed && s.options.OnTrouble != nil {
		s.options.OnTrouble(err)
	}
}

// Stats returns the figures of the stream.
func (s *Stream) Stats() (st history.DurableStats) {
	s.publisher.addTo(&st)
	st.Wanted, st.Malformed = s.Wanted(), s.malformed.Load()
	if err := s.Trouble(); err != nil {
		st.Trouble = err.Error()
	}
	return st
}

// Close waits until JetStream has answered all messages, or ctx is done, and closes the
// connection. Later messages are refused.
func (s *Stream) Close(ctx context.Context) error {
	err := s.publisher.close(ctx)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	stopped := make(chan struct{})
	go func() {
		s.running.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("natsstream: closing: %w", err)
	}
	return nil
}
