package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type object = map[string]any

// told is an event as a back end reads it.
type told struct {
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"`
	Type     string          `json:"type"`
	Topic    string          `json:"topic"`
	Client   string          `json:"client"`
	SocketID string          `json:"socket_id"`
	Reason   string          `json:"reason"`
	Duration *int64          `json:"duration_ms"`
	Event    string          `json:"event"`
	Payload  json.RawMessage `json:"payload"`
	Key      string          `json:"key"`
	Change   string          `json:"change"`
	Count    uint64          `json:"count"`
}

func (e told) String() string {
	s := e.Type
	for _, more := range []string{e.Topic, e.Key, e.Change, e.Event, string(e.Payload), e.Reason} {
		if more != "" {
			s += " " + more
		}
	}
	if e.Count > 0 {
		s += fmt.Sprint(" ", e.Count)
	}
	return s
}

// backend is a back end that takes batches, or answers with an error.
type backend struct {
	mu      sync.Mutex
	fail    func(ids []told) error // nil: it takes all
	got     []told
	batches []string // their ids
	tries   int
}

func (b *backend) send(_ context.Context, id string, body []byte) error {
	var batch struct{ Events []told }
	if err := json.Unmarshal(body, &batch); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	b.mu.Lock()
	b.tries++
	fail := b.fail
	b.mu.Unlock()
	if fail != nil { // it may sleep
		if err := fail(batch.Events); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, batch.Events...)
	b.batches = append(b.batches, id)
	return nil
}

func (b *backend) failWith(f func([]told) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

func (b *backend) tried() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries
}

// take returns what has come since the last call.
func (b *backend) take() []told {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func texts(list []told) (all []string) {
	for _, e := range list {
		all = append(all, e.String())
	}
	return all
}

func want(t testing.TB, got []told, want ...string) {
	t.Helper()
	if !slices.Equal(texts(got), want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(texts(got), "\n\t"), strings.Join(want, "\n\t"))
	}
}

// hookOf returns a hook of all events, or some.
func hookOf(t testing.TB, name string, b *backend, kinds, topics []string) events.Hook {
	t.Helper()
	s, err := events.Select(kinds, topics, nil)
	if err != nil {
		t.Fatal(err)
	}
	return events.Hook{Name: name, Selects: s, Send: b.send, Fingerprint: fmt.Sprintf("%p %v %v", b, kinds, topics)}
}

// server is an endpoint with one instance, the relay "r", and its events.
type server struct {
	t        testing.TB
	endpoint *channelstest.Endpoint
	manager  *instances.Manager
	events   *events.Events
	hooks    []events.Hook // for the next Begin
}

func startServer(t testing.TB, dir string, hooks ...events.Hook) *server {
	t.Helper()
	return startBounded(t, events.Options{Dir: dir, Limit: 16 << 20}, hooks...)
}

// startBounded starts a server with bounds of its own.
func startBounded(t testing.TB, o events.Options, hooks ...events.Hook) *server {
	t.Helper()
	quiet := zerolog.Nop()
	s := &server{t: t, endpoint: channelstest.Start(t, channels.Options{}), hooks: hooks}
	o.Log = logging.NewLog(&quiet)
	o.Hooks = func(instances.Spec, bool) ([]events.Hook, error) { return s.hooks, nil }
	s.events = events.New(events.WithSnapshots(o, 100))
	s.manager = instances.New(s.endpoint.Endpoint, instances.Options{Began: s.events.Begin})
	s.manager.Register(relay.Type())
	if _, _, err := s.manager.Create(t.Context(), instances.Spec{ID: "r", Type: "relay"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) connect(user string) *channelstest.Client {
	return channelstest.Connect(s.t, s.endpoint, "/socket/r?user="+user)
}

// stop ends the server. It waits for hooks for five seconds.
func (s *server) stop() {
	s.t.Helper()
	if err := s.manager.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.events.Close(ctx); err != nil {
		s.t.Error(err)
	}
}
