package realtime

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/wire"
)

// Options configure the type.
type Options struct {
	// Verifier returns what verifies the tokens of an instance's clients, nil if they
	// need none. It is called for each connection, token and request. A nil Verifier
	// means that no instance needs tokens.
	//
	// The type finds tokens where Supabase's clients put them, so the socket of such an
	// instance must not be wrapped with [auth.Verifier.Protect].
	Verifier func(id string) *auth.Verifier
	// Access decides who may use a private channel; nil is [TokenAccess].
	Access Access

	now func() time.Time // for tests; nil: time.Now
}

// Path is what Supabase's clients append to the address of their project.
const Path = "/realtime/v1"

// Type returns the type of instances for Supabase's clients.
func Type(o Options) instances.Type {
	if o.Verifier == nil {
		o.Verifier = func(string) *auth.Verifier { return nil }
	}
	if o.Access == nil {
		o.Access = TokenAccess
	}
	if o.now == nil {
		o.now = time.Now
	}
	return instances.Define("realtime", "Supabase's clients connect unchanged: broadcast, presence and private channels.",
		func(in *instances.Instance, c Config) (instances.Logic, error) {
			if err := c.check(); err != nil {
				return nil, err
			}
			return newLogic(in, c, o), nil
		}).Spread().Under(Path)
}

// logic is one instance.
type logic struct {
	// Static after construction.
	in       *instances.Instance
	log      *logging.Log
	access   Access
	verifier func() *auth.Verifier // returns nil if clients need no token
	presence *presence.Tracker
	now      func() time.Time

	config atomic.Pointer[Config]
	socket atomic.Pointer[channels.SocketOptions] // for the origins that HTTP allows

	joins, presences atomic.Int64 // counts since the start
	rates            rates
}

func newLogic(in *instances.Instance, c Config, o Options) *logic {
	l := &logic{
		in: in, log: logging.NewLog(in.Log()), access: o.Access, verifier: func() *auth.Verifier { return o.Verifier(in.ID()) },
		presence: in.TrackPresence(presence.Options{Window: time.Duration(c.Window)}), now: o.now,
	}
	l.config.Store(&c)
	l.rates.events.total = func() int64 {
		s := in.Endpoint().Stats()
		return s.MessagesIn + s.MessagesOut
	}
	l.rates.joins.total, l.rates.presences.total = l.joins.Load, l.presences.Load
	return l
}

var (
	_ instances.Connector          = (*logic)(nil)
	_ instances.Mounter            = (*logic)(nil)
	_ instances.Configurer[Config] = (*logic)(nil)
)

// Mount implements instances.Mounter.
func (l *logic) Mount(o channels.SocketOptions) channels.SocketOptions {
	o.Dialect = wire.Realtime
	l.socket.Store(&o)
	return o
}

// Configure implements instances.Configurer.
func (l *logic) Configure(_ context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Window != l.config.Load().Window {
		return instances.ErrRestart
	}
	l.config.Store(&c)
	return nil
}

// Channels implements instances.Logic.
func (l *logic) Channels() []*channels.Channel {
	ch := channels.Handle("realtime:*", l.join)
	ch.Scope(scope)
	ch.Replay(replayAsk, replayed)
	channels.Info(ch, l.joined)
	channels.Info(ch, l.expire)
	channels.On(ch, "broadcast", l.broadcast)
	channels.On(ch, "presence", l.handlePresence)
	channels.On(ch, "access_token", l.accessToken)
	ch.OnAny(func(*channels.Context, string, channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, nil // Supabase is silent too
	})
	return []*channels.Channel{ch}
}

// debug begins a log line about a channel.
func (l *logic) debug(c *channels.Context, message string) logging.Line {
	return l.log.Line(zerolog.DebugLevel, message).Str("topic", c.Topic())
}
