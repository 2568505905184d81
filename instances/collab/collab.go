package collab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/visitor"
)

const (
	// topic is the only topic of an instance.
	topic = "doc"
	// maxUnits bounds a text in UTF-16 units, and registers in bytes.
	maxUnits = 200_000
	// maxDocBytes bounds the document's JSON, in which a unit may take up to
	// six bytes (such as "<"), and maxLogBytes that of the log. Both must fit
	// into one saved state (instances.MaxStateBytes).
	maxDocBytes = 600_000
	maxLogBytes = 400_000
	// maxOp bounds an operation in bytes.
	maxOp = 64 << 10
	// maxID bounds the id of an operation in bytes.
	maxID = 64
)

// Config is the configuration of an instance of [Type].
type Config struct {
	Kind    string `json:"kind,omitempty" jsonschema:"enum=text,enum=registers,default=text,description=what the document is: a text or a JSON object whose keys are set"`
	Durable bool   `json:"durable,omitempty" jsonschema:"description=write each operation to the disk before it is answered; otherwise within a second"`
	MaxSize int    `json:"max_size,omitempty" jsonschema:"minimum=1,maximum=200000,default=100000,description=largest size of the document: UTF-16 units of a text or bytes of registers"`
	Log     int    `json:"log,omitempty" jsonschema:"minimum=1,maximum=10000,default=1000,description=operations that are kept for clients that were away"`
}

// Defaults of a Config.
const (
	defaultMaxSize = 100_000
	defaultLog     = 1000
)

// Type returns the type of instances that are documents.
func Type() instances.Type {
	return instances.Define("collab", "One document that many change at once: text with operational transform, or registers.",
		func(in *instances.Instance, c Config) (instances.Logic, error) {
			h := history{bounds: bounds{cmp.Or(c.Log, defaultLog), maxLogBytes}}
			most := cmp.Or(c.MaxSize, defaultMaxSize)
			c.Kind = cmp.Or(c.Kind, "text")
			h.doc = text{most: most}
			if c.Kind == "registers" {
				h.doc = registers{most: most}
			}
			return &logic{in: in, kind: c.Kind, keeper: newKeeper(in, h, c.Durable)}, nil
		})
}

// logic is one instance.
type logic struct {
	in     *instances.Instance
	kind   string
	keeper *keeper
}

var (
	_ instances.Starter  = (*logic)(nil)
	_ instances.Stopper  = (*logic)(nil)
	_ instances.Signaler = (*logic)(nil)

	_ instances.Configurer[Config] = (*logic)(nil)
)

// Start implements instances.Starter.
func (l *logic) Start(ctx context.Context) error { return l.keeper.load(ctx) }

// Stop implements instances.Stopper.
func (l *logic) Stop(ctx context.Context) error { return l.keeper.save(ctx) }

// Configure implements instances.Configurer: the kind of a document cannot
// change; anything else takes a restart, which keeps the document.
func (l *logic) Configure(_ context.Context, c Config) error {
	if cmp.Or(c.Kind, "text") != l.kind {
		return instances.Invalid("/kind", "cannot be changed: create another instance")
	}
	return instances.ErrRestart
}

// Channels implements instances.Logic.
func (l *logic) Channels() []*channels.Channel {
	ch := channels.Handle(topic, l.join)
	channels.Info(ch, l.joined)
	channels.Info(ch, l.pushDoc)
	channels.On(ch, "op", l.op)
	channels.On(ch, "since", l.since)
	ch.OnAny(func(_ *channels.Context, event string, _ channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, channels.Errorf("unknown event %q: a document takes op and since", event)
	})
	return []*channels.Channel{ch}
}

type joinParams struct {
	User string `json:"user"` // unless the socket has been given one
	Rev  *int64 `json:"rev"`  // the client's revision; null: it has none
}

type joinReply struct {
	User string `json:"user"` // the name that it goes by
	Kind string `json:"kind"`
}

// afterJoin is sent when the client is subscribed, so that what it is sent then
// has no gap.
type afterJoin struct{ rev int64 }

// userKey is the key for the name of a joined channel's client.
var userKey = channels.NewKey[string]("user")

func (l *logic) join(c *channels.Context, p joinParams) (joinReply, error) {
	name, err := visitor.Name(c, p.User)
	if err != nil {
		return joinReply{}, err
	}
	rev := int64(-1)
	if p.Rev != nil {
		rev = *p.Rev
	}
	userKey.Set(c, name)
	return joinReply{name, l.kind}, c.Send(afterJoin{rev})
}

// catchUp brings a client to revision Rev: with the operations that it has
// missed or, if they are no longer kept, with the document.
type catchUp struct {
	Rev int64           `json:"rev"`
	Ops []entry         `json:"ops"` // null if the document is given
	Doc json.RawMessage `json:"doc,omitempty"`
}

func (h *history) catchUp(rev int64) (catchUp, error) {
	if rev >= 0 {
		if ops, err := h.since(rev); err == nil {
			return catchUp{Rev: h.rev, Ops: append([]entry{}, ops...)}, nil
		}
	}
	doc, err := h.doc.MarshalJSON()
	return catchUp{Rev: h.rev, Doc: doc}, err
}

func (l *logic) joined(c *channels.Context, a afterJoin) error {
	if _, err := l.in.Presence().Track(c, userKey.Get(c), struct{}{}); err != nil {
		return err
	}
	if err := l.in.Presence().PushState(c); err != nil {
		return err
	}
	return l.pushDoc(c, docDue(a))
}

// docDue is sent when the client must be brought up to date from a revision.
type docDue struct{ rev int64 }

func (l *logic) pushDoc(c *channels.Context, due docDue) error {
	return l.keeper.read(func(h *history) error {
		u, err := h.catchUp(due.rev)
		if err != nil {
			return err
		}
		return c.PushFresh("doc", u, due)
	})
}

type sinceParams struct {
	Rev *int64 `json:"rev"`
}

func (l *logic) since(_ *channels.Context, p sinceParams) (u catchUp, err error) {
	if p.Rev == nil {
		return u, channels.Errorf("rev is missing: it is the revision that you have")
	}
	err = l.keeper.read(func(h *history) error {
		u, err = h.catchUp(*p.Rev)
		return err
	})
	return u, err
}

type opParams struct {
	Rev *int64          `json:"rev"` // the revision that the operation is made on
	ID  string          `json:"id"`  // unique among the user's operations, so that a repeated one is recognized
	Op  json.RawMessage `json:"op"`
}

func (p *opParams) check() error {
	switch {
	case p.Rev == nil:
		return refuse("rev is missing: it is the revision that the operation is made on")
	case p.ID == "":
		return refuse("id is missing: give each operation a name of its own")
	case len(p.ID) > maxID:
		return refuse("id is longer than %d bytes", maxID)
	case len(p.Op) == 0 || string(p.Op) == "null":
		return refuse("op is missing")
	case len(p.Op) > maxOp:
		return refuse("op is longer than %d bytes", maxOp)
	}
	return nil
}

type opReply struct {
	Rev int64 `json:"rev"` // the revision that the operation has made
}

func (l *logic) op(c *channels.Context, p opParams) (opReply, error) {
	rev, err := l.submit(c, userKey.Get(c), p, func(e entry) error { return c.Broadcast("op", e) })
	var no refusal
	if errors.As(err, &no) {
		return opReply{}, channels.Errorf("%s", string(no))
	}
	return opReply{rev}, err
}

func (l *logic) submit(ctx context.Context, user string, p opParams, send func(entry) error) (int64, error) {
	if err := p.check(); err != nil {
		return 0, err
	}
	return l.keeper.append(ctx, *p.Rev, user, p.ID, p.Op, send)
}

// Signal implements instances.Signaler: the application reads and changes the
// document.
func (l *logic) Signal(ctx context.Context, name string, data json.RawMessage) (result any, err error) {
	switch name {
	case "get":
		err = l.keeper.read(func(h *history) (err error) {
			result, err = h.catchUp(-1)
			return err
		})
		return result, err
	case "op":
		var d struct {
			User string `json:"user"`
			opParams
		}
		if err := json.Unmarshal(data, &d); err != nil || d.User == "" {
			return nil, &instances.SignalError{Reason: "the data of op is {user, rev, id, op}"}
		}
		rev, err := l.submit(ctx, d.User, d.opParams, func(e entry) error { return l.in.Broadcast(topic, "op", e) })
		var no refusal
		if errors.As(err, &no) {
			return nil, &instances.SignalError{Reason: string(no)}
		}
		return opReply{rev}, err
	}
	return nil, &instances.SignalError{Reason: fmt.Sprintf("unknown signal %q: a document takes get and op", name)}
}
