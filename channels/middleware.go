package channels

import "slices"

// Handler handles a join or an event, for [Middleware]. It is what [Handle],
// [On], [OnPrefix] and [Channel.OnAny] register. p is the payload as it came,
// and is valid until the handler returns.
//
// [Context.Event] returns the event, "phx_join" for a join. The reply of an
// accepted join has the status "ok". The error is the one of the typed handler,
// or a *ReplyError for a payload that cannot be decoded. A Handler panics if a
// callback panics, or if the event has no handler.
type Handler func(c *Context, p Payload) (Reply, error)

// Middleware wraps a handler. It may act before and after next, or instead of
// it. To observe a panic it must use defer, and let the panic continue: one
// that it recovers from does not end the channel.
//
//	func timed(next channels.Handler) channels.Handler {
//		return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
//			defer observe(c.EventPattern(), time.Now())
//			return next(c, p)
//		}
//	}
//
// Middleware runs where the handler runs; with [Channel.OnLoop] that is the
// event loop, and it must not block. It is called once for each channel, by
// [Endpoint.Socket]. The handler that it returns serves all clients
// concurrently: it must keep what belongs to one client with c.
type Middleware func(next Handler) Handler

// Use adds middleware around all joins and events of the channel, including
// handlers that are registered later. The first one is the outermost. Joins and
// events that a [Guard] refuses or handles do not pass through it, and neither
// do leaves, [Info] and [Intercept].
//
// Middleware refuses a join by returning an error, or a Reply whose status is
// not "ok".
func (ch *Channel) Use(middleware ...Middleware) *Channel {
	ch.mustChange("Use", "")
	ch.use = append(ch.use, middleware...)
	return ch
}

// mount ends the registration of handlers, and wraps them in the middleware.
func (ch *Channel) mount() {
	ch.once.Do(func() {
		ch.mounted.Store(true)
		if len(ch.use) == 0 {
			return
		}
		ch.chain = ch.callHandler
		for _, m := range slices.Backward(ch.use) {
			ch.chain = m(ch.chain)
		}
	})
}

// handleEvent passes the event that is being handled through middleware, if there
// is any, to its handler.
func (ch *Channel) handleEvent(c *Context, p Payload) (Reply, error) {
	if ch.chain != nil {
		return ch.chain(c, p)
	}
	return ch.callEvent(c, p)
}

// handleJoin is handleEvent for a join.
func (ch *Channel) handleJoin(c *Context, p Payload) (Reply, error) {
	if ch.chain != nil {
		return ch.chain(c, p)
	}
	return ch.join(c, p)
}

// callHandler is the innermost handler, inside all middleware.
func (ch *Channel) callHandler(c *Context, p Payload) (Reply, error) {
	if c.call.event == "phx_join" { // no event can have this name
		return ch.join(c, p)
	}
	return ch.callEvent(c, p)
}

// callEvent calls the handler of the event that is being handled.
func (ch *Channel) callEvent(c *Context, p Payload) (Reply, error) {
	h, _, _ := ch.handler(c.call.event)
	if h == nil {
		panic(clientFault("no handler for event " + shortened(c.call.event)))
	}
	return h(c, p)
}

// EventPattern returns what the handler that is running was registered for: the
// event itself, the prefix of [OnPrefix] followed by "*", "*" for
// [Channel.OnAny], or "phx_join". It returns "" for an event without a handler
// and outside of a handler. Clients cannot choose its values, unlike those of
// [Context.Event], so it may be the label of a metric. It may be called only
// from callbacks.
func (c *Context) EventPattern() string {
	event := c.Event()
	if event == "" || event == "phx_join" {
		return event
	}
	h, pattern, rest := c.def.handler(event)
	switch {
	case h == nil:
		return ""
	case rest:
		return pattern + "*"
	}
	return pattern
}

// replyOf returns the result of a typed handler as a Reply.
func replyOf[R any](result R, err error) (Reply, error) {
	if err != nil && !noError(err) {
		return Reply{}, err
	}
	switch r := any(result).(type) {
	case NoReply:
		return Reply{}, nil
	case Reply:
		return r, nil
	default:
		return Reply{Status: "ok", Response: r}, nil
	}
}
