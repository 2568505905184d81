package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Type is named logic from which instances are made: see [Define].
type Type struct {
	name   string
	about  string
	schema *schema
	build  func(in *Instance, config json.RawMessage) (Logic, error)
	spread bool
	// records returns what a configuration records; nil if it is no Recorder.
	records func(config json.RawMessage) []HistoryRule
	under   string // an additional path below each instance's own; "": none
	// reconfigure passes a changed configuration to logic; ok is false if logic
	// is not a Configurer.
	reconfigure func(ctx context.Context, logic Logic, config json.RawMessage) (bool, error)
}

// Define makes a type. C is the struct of its configuration: the fields' json
// tags are the keys, a jsonschema tag bounds and describes them
// (`jsonschema:"minimum=2,maximum=8,description=seats at the table"`), a field
// without omitempty is required. A configuration is checked against that schema
// before build gets it. build makes the logic of one instance, and again when
// it is restarted; it must not block. If it returns an error, the configuration
// is refused; the error should be a [fielderr.List] if the field is known.
//
// Define panics if name is not 1 to 64 characters of a-z, 0-9 and "-", or if C
// has no schema.
func Define[C any](name, about string, build func(in *Instance, config C) (Logic, error)) Type {
	if !validType(name) {
		panic(fmt.Sprintf("instances: type name %q: want 1 to 64 characters of a-z, 0-9 and -", name))
	}
	return Type{
		name: name, about: about, schema: schemaOf[C](name),
		build: func(in *Instance, raw json.RawMessage) (Logic, error) {
			config, err := decodeConfig[C](raw)
			if err != nil {
				return nil, err
			}
			return build(in, config)
		},
		records: func(raw json.RawMessage) []HistoryRule {
			config, err := decodeConfig[C](raw)
			if r, ok := any(config).(Recorder); ok && err == nil {
				return r.HistoryRules()
			}
			return nil
		},
		reconfigure: func(ctx context.Context, logic Logic, raw json.RawMessage) (bool, error) {
			c, ok := logic.(Configurer[C])
			if !ok {
				return false, nil
			}
			config, err := decodeConfig[C](raw)
			if err != nil {
				return true, err
			}
			err = c.Configure(ctx, config)
			return !errors.Is(err, ErrRestart), err
		},
	}
}

// Name returns the type's name, as in Spec.Type.
func (t Type) Name() string { return t.name }

// About returns the type's description, a sentence.
func (t Type) About() string { return t.about }

// Spread returns a copy of the type whose instances may run on several nodes at
// once; their broadcasts reach the clients of all nodes. The logic must not
// keep state that would have to be the same everywhere. Such instances use
// [Options].Bus.
func (t Type) Spread() Type {
	t.spread = true
	return t
}

// Schema returns the JSON schema (draft 2020-12) of the configuration. It must
// not be modified.
func (t Type) Schema() json.RawMessage { return t.schema.text }

// Logic is what runs in one instance: the channels that its clients may join,
// and whichever of the hooks of this package it implements: [Starter],
// [Drainer], [Stopper], [Ticker], [Signaler], [Configurer], [Connector],
// [Watcher], [Mounter], and http.Handler for requests below the instance's path
// that are not for its socket (see [Manager.ServeHTTP]).
//
// Start, Tick, Signal, Configure, Draining and Stop run one at a time. The
// callbacks of channels, Connect, Connected and Gone run concurrently with
// them, on goroutines of their own. A panic in any hook except Connect,
// Connected, Gone and ServeHTTP, or an error of Start or Tick, ends this logic:
// the instance is restarted with a new one, and its clients reconnect.
type Logic interface {
	// Channels is called once before Start, and again after each Configure, for
	// clients that connect from then on.
	Channels() []*channels.Channel
}

// Mounter is logic that changes the options of its instance's socket, for
// example to give it a dialect. o is what [Options].Sockets returned. Mount is
// called before the instance starts, and again after each change of its options.
type Mounter interface {
	Mount(o channels.SocketOptions) channels.SocketOptions
}

// Channels is logic without hooks.
type Channels []*channels.Channel

// Channels returns c.
func (c Channels) Channels() []*channels.Channel { return c }

// Starter is logic with work to do before the first client connects, such as
// loading what was saved or starting a goroutine with [Instance.Go]. It has
// Options.StartTimeout for it.
type Starter interface {
	Start(ctx context.Context) error
}

// Drainer is logic that is called when the instance begins to drain, before the
// first socket is closed, for example for a last broadcast.
type Drainer interface {
	Draining(ctx context.Context)
}

// Stopper is logic that is called when all sockets are closed and no channel
// callback is running, for example to save. ctx ends after Options.Grace.
// Stop is not called after a crash.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Ticker is logic that is called at regular intervals.
type Ticker interface {
	// TickEvery is called once, after Start; 0 means no ticks.
	TickEvery() time.Duration
	// Tick is called that often. Ticks that come while Tick runs are skipped.
	Tick(now time.Time) error
}

// Signaler is logic that can be called from outside (POST …/signal in the
// server). data is JSON or nil; the result is encoded with encoding/json. A
// [*SignalError] tells the caller what was wrong.
type Signaler interface {
	Signal(ctx context.Context, name string, data json.RawMessage) (any, error)
}

// Configurer is logic that accepts a changed configuration while it runs. If
// the logic is not a Configurer, or returns [ErrRestart], the instance is
// restarted. Any other error refuses the change.
type Configurer[C any] interface {
	Configure(ctx context.Context, config C) error
}

// Connector is logic that decides who may connect, after the server's own
// checks, as [channels.SocketOptions].Connect does.
type Connector interface {
	Connect(ctx context.Context, s *channels.Socket, r *channels.Request) error
}

// QuickConnector is a [Connector] which declares that its Connect never blocks
// and keeps nothing of the Request except strings (see
// [channels.SocketOptions].ReuseRequest). Connect then runs on the event loop,
// unless the server's own checks may block.
type QuickConnector interface {
	Connector
	ConnectsAtOnce()
}

// Watcher is logic that is called when a client has connected, and when it has
// gone. Both methods run on an event loop and must not block.
type Watcher interface {
	Connected(s *channels.Socket)
	Gone(s *channels.Socket)
}

// Archiver is logic that saves recorded messages with the instance, so that they outlive
// the process. Its methods run concurrently with the hooks.
type Archiver interface {
	// LoadHistory adds what is saved of a topic to the instance's history. It is called
	// before that is read.
	LoadHistory(ctx context.Context, topic string) error
	// EraseHistory has erase remove messages of a topic from the instance's history, and
	// then erases them where they are saved. It returns how many there were; erase returns
	// how many were in the history.
	EraseHistory(ctx context.Context, topic string, e Erasure, erase func() (int, error)) (int, error)
}

// SignalError is a [Signaler]'s error for a mistake of the caller, such as an
// unknown name or invalid data.
type SignalError struct{ Reason string }

func (e *SignalError) Error() string { return e.Reason }
