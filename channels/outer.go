package channels

// Outer is middleware around the joins and events of all channels of a socket that serve certain topics, outside of
// the middleware of the channels themselves. See [SocketOptions].
type Outer struct {
	// Topics reports whether a topic is wrapped. It is called for each join, on the event loop, and must not block.
	Topics func(topic string) bool
	// Use wraps the handlers. It may block: joins and events of the topics run on goroutines, even those of channels
	// that declared [Channel.OnLoop]; those of other topics do not. Events that wait when their socket ends are handled
	// too, in order and for [Limits].MailboxWait at most, although the [Context] is done and nothing can be sent to the
	// client any more.
	Use Middleware
}

// outer is an [Outer] as a mount uses it. nil wraps nothing.
type outer struct {
	topics   func(topic string) bool
	channels map[*Channel]*Channel // the wrapped channel of each
}

func newOuter(o *Outer, channels []*Channel) *outer {
	if o == nil {
		return nil
	}
	w := &outer{o.Topics, make(map[*Channel]*Channel, len(channels))}
	for _, ch := range channels {
		w.channels[ch] = ch.wrapped(o.Use)
	}
	return w
}

// wrap returns the channel that serves a topic of ch.
func (w *outer) wrap(ch *Channel, topic []byte) *Channel {
	if w == nil || !w.topics(string(topic)) {
		return ch
	}
	return w.channels[ch]
}

// wrapped returns a copy of a mounted channel with further middleware, which may block.
func (ch *Channel) wrapped(use Middleware) *Channel {
	inner := ch.chain
	if inner == nil {
		inner = ch.callHandler
	}
	w := &Channel{
		pattern: ch.pattern, join: ch.join, events: ch.events, prefixes: ch.prefixes, any: ch.any,
		intercept: ch.intercept, info: ch.info, terminate: ch.terminate, scope: ch.scope,
		replayAsk: ch.replayAsk, replayPayload: ch.replayPayload,
		chain: use(inner), outer: true,
	}
	w.mounted.Store(true)
	return w
}
