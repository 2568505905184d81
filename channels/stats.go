package channels

import (
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// Stats are counts since the endpoint was made, and how much there is now.
type Stats struct {
	Sockets  int64 // connected now
	Channels int64 // joined now

	MessagesIn  int64 // complete messages from clients
	Refused     int64 // connections and handshakes refused by a limit
	RateLimited int64 // joins and messages refused by a socket's rates
	MailboxFull int64 // messages not taken because a channel's mailbox was full
	Crashes     int64 // channels ended by a panic

	LongPoll LongPollStats
	Network  netloop.Stats // connections, bytes, writes, what was dropped and why
}

// LongPollStats are those of sessions without a connection; they are among
// Stats.Sockets too.
type LongPollStats struct {
	Sessions int64 // now
	Expired  int64 // sessions ended because nobody polled any more
	Slow     int64 // sessions ended by DisconnectSlow
	Dropped  int64 // frames dropped by DropOldest or DropNewest
	Binary   int64 // frames of bytes left out: an answer to a poll is text
}

type counters struct {
	sockets, channels                                      atomic.Int64
	messagesIn, refused, rateLimited, mailboxFull, crashes atomic.Int64
}

// Stats returns the endpoint's counters, read one after the other.
func (e *Endpoint) Stats() Stats {
	c := &e.counters
	return Stats{
		Sockets: c.sockets.Load(), Channels: c.channels.Load(),
		MessagesIn: c.messagesIn.Load(), Refused: c.refused.Load(), RateLimited: c.rateLimited.Load(),
		MailboxFull: c.mailboxFull.Load(), Crashes: c.crashes.Load(),
		LongPoll: e.sessions.stats(),
		Network:  e.loops.Stats(),
	}
}

// Subscribers is how many have joined topic on this node.
func (e *Endpoint) Subscribers(topic string) int { return e.pubsub.Subscribers(topic) }
