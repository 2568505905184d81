package channels

import "slices"

// Handler handles a join or an event: what [Handle], [On], [OnPrefix] and
// [Channel.OnAny] register, in the form that [Middleware] sees. p is the payload
// as it came, valid until the handler returns.
//
// [Context.Event] is the name of the event, "phx_join" for a join. The reply of a
// join that is accepted has the status "ok". An error is what the typed handler
// returned, or a *ReplyError for a payload that does not decode. An event without
// a handler panics, as does a handler that crashes.
type Handler func(c *Context, p Payload) (Reply, error)

// Middleware wraps a handler: it does something before next, after it, or in its
// place. To see a panic it has to defer, and should let the panic go on: what it
// recovers from does not end the channel.
//
//	func timed(next channels.Handler) channels.Handler {
//		return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
//			defer observe(c.EventPattern(), time.Now())
//			return next(c, p)
//		}
//	}
//
// It runs where the handler runs: on the event loop for a channel that declared
// [Channel.OnLoop], where it must not block. It is called once for each channel,
// when the channel is given to [Endpoint.Socket], and the handler that it returns
// serves all clients at the same time: what belongs to a client is kept with c.
type Middleware func(next Handler) Handler

// Use has all joins and events of the channel pass through middleware, whether
// their handlers are registered before or after it. The first one is the
// outermost: it sees a message first and the outcome last. What a [Guard] refuses
// or handles itself does not get here, nor do leaves, [Info] and [Intercept].
//
// A middleware that answers a join itself refuses it by an error, or by a Reply
// whose status is not "ok".
func (ch *Channel) Use(middleware ...Middleware) *Channel {
	ch.mustChange("Use", "")
	ch.use = append(ch.use, middleware...)
	return ch
}

// mount ends the registration of handlers, and puts the middleware around them.
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

// callHandler is the innermost handler behind middleware.
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

// EventPattern is what the handler of the event being handled was registered for:
// the event itself, the prefix of [OnPrefix] followed by "*", "*" for OnAny, or
// "phx_join". It is empty for an event without a handler, and outside of a handler. Unlike [Context.Event],
// whose values clients choose, it is fit for a label of a metric. For callbacks
// only.
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

// replyOf is what a typed handler returned as a Reply.
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
