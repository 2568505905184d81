package channels

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/wire"
)

// Channel handles the topics of one pattern, as a channel module does in
// Phoenix. Make one with [Handle], add handlers, and give it to
// [Endpoint.Socket]. It must not be changed after that.
type Channel struct {
	pattern   topics.Pattern
	join      Handler
	events    map[string]Handler
	prefixes  []prefixHandler // the longest first
	any       Handler
	use       []Middleware // the outermost first
	chain     Handler      // of joins and events when it serves; nil without middleware
	intercept map[string]outHandler
	info      map[reflect.Type]infoHandler
	terminate func(c *Context, reason error)
	scope     func(params Payload) string // nil: no join has a scope
	onLoop    bool
	outer     bool // it is wrapped by an Outer

	replayAsk     func(params Payload) (history.Ask, bool) // nil: joins ask by the params of package history
	replayPayload func(m *history.Message) Payload         // set with replayAsk

	mounted atomic.Bool // it serves: changes would be races
	once    sync.Once   // of mount
}

type (
	outHandler  func(c *Context, p Payload) error
	infoHandler func(c *Context, msg any) error
)

// Handle returns a channel for topics that match pattern: an exact topic, or a
// prefix that ends in "*". The pattern "room:*" matches "room:" and "room:1",
// but not "room". Handle panics if pattern has a "*" elsewhere.
//
// join is called when a client joins. Its params are decoded from the payload
// of the join, and its result is the response of the ok reply, both as for
// [On]; [NoReply] stands for an empty object. A non-nil [*ReplyError] refuses
// the join with that response. Any other error is logged and answered
// {"reason":"join crashed"}, and so is a panic.
//
// Pushes made in join are sent after its reply. The client is subscribed to the
// topic when join has returned. To send it something that depends on that, such
// as a presence_state, call [Context.Send] in join, and push from the [Info]
// handler.
func Handle[P, R any](pattern string, join func(c *Context, params P) (R, error)) *Channel {
	parsed, err := topics.Parse(pattern)
	if err != nil {
		panic(fmt.Sprintf("channels: topic pattern %q %v", pattern, err))
	}
	decode := decoderFor[P]()
	return &Channel{
		pattern: parsed,
		join: func(c *Context, p Payload) (Reply, error) {
			params, err := decode(p)
			if err != nil {
				return Reply{}, err
			}
			response, err := join(c, params)
			if err != nil && !noError(err) {
				return Reply{}, err
			}
			return Reply{Status: "ok", Response: response}, nil
		},
	}
}

// On registers the handler of an event that clients push.
//
// M is the type of the payload: any type that encoding/json decodes, or
// [Payload], [json.RawMessage] or [Binary] for the bytes as they came. These
// are valid until the handler returns, and may be its result. A payload that
// cannot be decoded is answered with status "error" and a reason that names the
// field; the channel continues.
//
// R is the type of the response of the ok reply: any type that encoding/json
// encodes, [Binary] or json.RawMessage for bytes, [NoReply] to send no reply,
// or [Reply] for another status. A [*ReplyError] becomes an error reply. Any
// other error is logged and answered {"reason":"internal error"}.
func On[M, R any](ch *Channel, event string, fn func(c *Context, msg M) (R, error)) {
	ch.mustChange("On", event)
	mustBeNew(ch, ch.events, event)
	if ch.events == nil {
		ch.events = make(map[string]Handler)
	}
	decode := decoderFor[M]()
	ch.events[event] = func(c *Context, p Payload) (Reply, error) {
		msg, err := decode(p)
		if err != nil {
			return Reply{}, err
		}
		return replyOf(fn(c, msg))
	}
}

// OnPrefix registers the handler of the events whose names begin with prefix,
// as handle_in("lvs_evt:" <> name, …) does in Elixir. name is the rest of the
// event's name. A handler of the exact event takes precedence, and a longer
// prefix over a shorter one. M and R are those of [On].
func OnPrefix[M, R any](ch *Channel, prefix string, fn func(c *Context, name string, msg M) (R, error)) {
	ch.mustChange("OnPrefix", prefix)
	if prefix == "" {
		panic(fmt.Sprintf("channels: OnPrefix of %q with an empty prefix: OnAny is for all events", ch.pattern))
	}
	at, twice := slices.BinarySearchFunc(ch.prefixes, prefix, comparePrefix)
	if twice {
		panic(fmt.Sprintf("channels: prefix %q of %q has two handlers", prefix, ch.pattern))
	}
	decode := decoderFor[M]()
	ch.prefixes = slices.Insert(ch.prefixes, at, prefixHandler{prefix, func(c *Context, p Payload) (Reply, error) {
		msg, err := decode(p)
		if err != nil {
			return Reply{}, err
		}
		return replyOf(fn(c, c.Event()[len(prefix):], msg))
	}})
}

// prefixHandler handles the events that begin with prefix.
type prefixHandler struct {
	prefix string
	handle Handler
}

// comparePrefix orders longer prefixes first.
func comparePrefix(h prefixHandler, prefix string) int {
	return cmp.Or(cmp.Compare(len(prefix), len(h.prefix)), cmp.Compare(h.prefix, prefix))
}

// OnAny registers the handler of the events that have no other handler. Without
// it such an event crashes the channel, as in Phoenix. The payload is valid
// until fn returns.
func (ch *Channel) OnAny(fn func(c *Context, event string, p Payload) (Reply, error)) {
	ch.mustChange("OnAny", "")
	if ch.any != nil {
		panic(fmt.Sprintf("channels: %q has two OnAny handlers", ch.pattern))
	}
	ch.any = func(c *Context, p Payload) (Reply, error) {
		reply, err := fn(c, c.Event(), p)
		if noError(err) {
			err = nil
		}
		return reply, err
	}
}

// Intercept registers a handler that is called for each receiver of a broadcast
// of event, instead of sending it (Phoenix's intercept and handle_out). The
// client gets only what fn pushes. Interception is slow: other broadcasts are
// encoded once for all receivers.
func Intercept[M any](ch *Channel, event string, fn func(c *Context, msg M) error) {
	ch.mustChange("Intercept", event)
	mustBeNew(ch, ch.intercept, event)
	if ch.intercept == nil {
		ch.intercept = make(map[string]outHandler)
	}
	decode := decoderFor[M]()
	ch.intercept[event] = func(c *Context, p Payload) error {
		msg, err := decode(p)
		if err != nil {
			return err
		}
		return fn(c, msg)
	}
}

// Info registers the handler of messages of type M that the program sends to a
// joined channel with [Context.Send] or [Context.SendAfter] (Phoenix's
// handle_info). M is the exact type of the message, not an interface. A message
// without a handler is logged and dropped.
func Info[M any](ch *Channel, fn func(c *Context, msg M) error) {
	t := reflect.TypeFor[M]()
	if t.Kind() == reflect.Interface {
		panic(fmt.Sprintf("channels: Info on %q needs a concrete type, not the interface %v", ch.pattern, t))
	}
	ch.mustChange("Info", "")
	if ch.info[t] != nil {
		panic(fmt.Sprintf("channels: %q has two Info handlers of %v", ch.pattern, t))
	}
	if ch.info == nil {
		ch.info = make(map[reflect.Type]infoHandler)
	}
	ch.info[t] = func(c *Context, msg any) error { return fn(c, msg.(M)) }
}

// Terminate registers a function that is called once when a joined channel has
// ended. Its reason is [ErrLeft], [ErrClosed], [ErrRejoined], [ErrStopped],
// [ErrMailboxFull], [ErrJoinTimeout], the reason given to [Context.Stop], or a
// [*PanicError]. The client gets nothing that fn pushes; broadcasts are sent.
func (ch *Channel) Terminate(fn func(c *Context, reason error)) {
	ch.mustChange("Terminate", "")
	if ch.terminate != nil {
		panic(fmt.Sprintf("channels: %q has two Terminate callbacks", ch.pattern))
	}
	ch.terminate = fn
}

// OnLoop declares that the channel's callbacks never block or compute for long.
// They then run on the event loop of their connection, without a goroutine and
// without a copy of the payload. A callback that blocks delays all connections
// of the loop.
func (ch *Channel) OnLoop() *Channel {
	ch.mustChange("OnLoop", "")
	ch.onLoop = true
	return ch
}

// Pattern returns the pattern of the channel's topics.
func (ch *Channel) Pattern() string { return ch.pattern.String() }

// protocolEvents are events of the protocol itself, which never reach a
// handler.
var protocolEvents = []string{"phx_join", "phx_leave", "phx_reply", "phx_error", "phx_close"}

// mustChange panics if the channel serves already, or event belongs to the
// protocol.
func (ch *Channel) mustChange(method, event string) {
	if ch.mounted.Load() {
		panic(fmt.Sprintf("channels: %s of %q after the channel was given to Endpoint.Socket: add all handlers before", method, ch.pattern))
	}
	if slices.Contains(protocolEvents, event) {
		panic(fmt.Sprintf("channels: %s of %q: the event %q is the protocol's own and no handler gets it: see Handle for joins and Terminate for leaves",
			method, ch.pattern, event))
	}
}

// mustBeNew panics if event has a handler already.
func mustBeNew[H any](ch *Channel, handlers map[string]H, event string) {
	if _, twice := handlers[event]; twice {
		panic(fmt.Sprintf("channels: event %q of %q has two handlers", event, ch.pattern))
	}
}

func (ch *Channel) intercepts(event string) bool {
	if len(ch.intercept) == 0 {
		return false
	}
	_, ok := ch.intercept[event]
	return ok
}

// handler returns the handler of an event, nil if there is none, and what it was
// registered for: the event, a prefix or all.
func (ch *Channel) handler(event string) (h Handler, pattern string, rest bool) {
	if h := ch.events[event]; h != nil {
		return h, event, false
	}
	for i := range ch.prefixes {
		if p := &ch.prefixes[i]; strings.HasPrefix(event, p.prefix) {
			return p.handle, p.prefix, true
		}
	}
	return ch.any, "", ch.any != nil
}

// Payload is the payload of a message: JSON text or bytes.
type Payload = wire.Payload
