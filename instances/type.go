package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Type is logic under a name, from which instances are made: see [Define].
type Type struct {
	name   string
	about  string
	schema *schema
	build  func(in *Instance, config json.RawMessage) (Logic, error)
	spread bool
	// reconfigure hands a changed configuration to logic; it reports false if
	// logic is no Configurer.
	reconfigure func(ctx context.Context, logic Logic, config json.RawMessage) (bool, error)
}

// Define makes a type. C is the struct of its configuration: the fields' json
// tags are the keys, a jsonschema tag bounds and describes them
// (`jsonschema:"minimum=2,maximum=8,description=seats at the table"`), a field
// without omitempty is required. What an instance is given is checked against
// that before build sees it. build makes the logic of one instance, and again
// when it is restarted; it must not block. An error of it refuses the
// configuration: a [fielderr.List] where it knows the field.
//
// It panics on a name that is not 1 to 64 characters of a-z, 0-9 and "-", and
// on a C that has no schema.
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

// Name is what Spec.Type says to mean the type.
func (t Type) Name() string { return t.name }

// About is a sentence for people.
func (t Type) About() string { return t.about }

// Spread returns the type as one whose instances may run on several nodes at once, with
// what they broadcast going to the clients of all: their logic keeps nothing that would
// have to be the same everywhere. A declared instance of it uses [Options].Bus.
func (t Type) Spread() Type {
	t.spread = true
	return t
}

// Spreads reports whether it was made by [Type.Spread].
func (t Type) Spreads() bool { return t.spread }

// Schema is the JSON schema (draft 2020-12) of the configuration. It must not
// be modified.
func (t Type) Schema() json.RawMessage { return t.schema.text }

// Logic is what runs in one instance: the channels that its clients may join,
// and whichever of the hooks of this package it implements: [Starter],
// [Drainer], [Stopper], [Ticker], [Signaler], [Configurer], [Connector],
// [Watcher].
//
// Start, Tick, Signal, Configure, Draining and Stop run one at a time. The
// callbacks of channels, Connect, Connected and Gone run beside them, on
// goroutines of their own. A panic in any hook but Connect, Connected and Gone,
// and an error of Start or Tick, ends this logic: the instance is restarted
// with a new one, and its clients connect again.
type Logic interface {
	// Channels is asked once before Start, and again after each Configure: what
	// it answers then is for the clients that connect from then on.
	Channels() []*channels.Channel
}

// Channels is logic without hooks.
type Channels []*channels.Channel

// Channels returns c.
func (c Channels) Channels() []*channels.Channel { return c }

// Starter is logic that has something to do before the first client connects:
// load what was saved, start a goroutine by [Instance.Go]. It is given
// Options.StartTimeout.
type Starter interface {
	Start(ctx context.Context) error
}

// Drainer is logic that is told when the instance begins to drain, before the
// first socket is closed: time for a last broadcast.
type Drainer interface {
	Draining(ctx context.Context)
}

// Stopper is logic that is told when all sockets are closed and no callback of
// a channel runs any more: time to save. ctx ends with Options.Grace. After a
// crash it is not called.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Ticker is logic that is called at a rate.
type Ticker interface {
	// TickEvery is asked once, after Start; 0 means no ticks.
	TickEvery() time.Duration
	// Tick is called that often; one that takes longer makes the next ones fall
	// out, they do not pile up.
	Tick(now time.Time) error
}

// Signaler is logic that can be called from outside (POST …/signal in the
// server). data is JSON or nil; the result is what encoding/json encodes. A
// [*SignalError] tells the caller what was wrong.
type Signaler interface {
	Signal(ctx context.Context, name string, data json.RawMessage) (any, error)
}

// Configurer is logic that takes a changed configuration while it runs. Without
// it, and where it answers [ErrRestart], an instance whose configuration changes
// is restarted. Any other error refuses the change.
type Configurer[C any] interface {
	Configure(ctx context.Context, config C) error
}

// Connector is logic that decides who may connect, after the server's own
// checks, as [channels.SocketOptions].Connect does.
type Connector interface {
	Connect(ctx context.Context, s *channels.Socket, r *channels.Request) error
}

// QuickConnector is a [Connector] that declares that its Connect never blocks and
// keeps nothing of the Request but strings (see [channels.SocketOptions].ReuseRequest).
// It then runs on the event loop, if what the server asks before it does not
// block either.
type QuickConnector interface {
	Connector
	ConnectsAtOnce()
}

// Watcher is logic that is told of each client that is connected, and of its
// end. Both run on an event loop and must not block.
type Watcher interface {
	Connected(s *channels.Socket)
	Gone(s *channels.Socket)
}

// SignalError is what a [Signaler] says to a caller who has done something
// wrong: an unknown name, data that makes no sense.
type SignalError struct{ Reason string }

func (e *SignalError) Error() string { return e.Reason }
