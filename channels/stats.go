package channels

import (
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/hooks"
)

func init() {
	hooks.OwnStats = func(endpoint any) any { return endpoint.(*Endpoint).ownStats() }
}

// Stats are the counters of an endpoint since it was made, and its present
// size.
type Stats struct {
	Sockets  int64 // connected now
	Channels int64 // joined now

	Opened      int64 // sockets that ever connected
	MessagesIn  int64 // complete messages from clients
	MessagesOut int64 // messages queued for clients; one that is dropped later is counted
	BytesIn     int64 // of MessagesIn, without their framing and before they are inflated
	BytesOut    int64 // of MessagesOut, with their framing
	Refused     int64 // connections and handshakes refused by a limit
	RateLimited int64 // joins and messages refused by rates
	KeptTooMuch int64 // joins refused by Limits.SocketBytes
	PutOff      int64 // states and other large messages that waited until their client had read
	HeldUp      int64 // times that a socket was not read for a while: it was above a rate, or a mailbox was full
	Overloaded  int64 // broadcasts refused with ErrOverloaded
	MailboxFull int64 // messages that were not handled because a channel's mailbox was full, or their client had been gone for too long
	Crashes     int64 // channels ended by a panic
	MailboxHigh int64 // the most messages that ever waited for one channel
	Callbacks   int64 // callbacks that run now on goroutines

	Handshakes HandshakeStats
	LongPoll   LongPollStats
	TCP        TCPStats
	History    HistoryStats
	// Network has the counters of the event loops. Guests share those of their
	// host and have none.
	Network NetworkStats
}

// NetworkStats counts the connections of an endpoint and its guests, including
// those that are not for sockets.
type NetworkStats struct {
	Connections int64 // open now
	Accepted    int64 // by listeners
	Adopted     int64 // taken over from net/http by [Endpoint.ServeHTTP]
	Refused     int64 // accepted or adopted, but lost before they were served: the TLS handshake failed, or epoll had no room
	Detached    int64 // handed over to net/http

	// Closed connections by reason.
	ClosedByPeer     int64 // the client closed the connection
	ClosedReset      int64 // the client reset it
	ClosedGone       int64 // the client could no longer be reached
	ClosedSlow       int64 // by DisconnectSlow
	ClosedByGroup    int64 // the endpoint shut down
	ClosedForAnother int64 // by the server for any other reason

	BytesIn  int64
	BytesOut int64
	Reads    int64 // that brought bytes
	Writes   int64 // that took bytes

	DroppedOldest int64 // frames dropped by DropOldest
	DroppedNewest int64 // frames dropped by DropNewest
	DroppedClosed int64 // frames that still waited when their connection was closed, or were sent to it later
	Overloads     int64 // times that a loop had more tasks waiting than its high-water mark

	// How long clients wait to be served at the moment, if more of them come than the
	// machine can serve. Limits.HandshakeWait bounds both.
	NewcomerDelay  time.Duration // of requests, and of sockets that have not joined anything yet; to a tenth of a second
	HandshakeDelay time.Duration // of TLS handshakes that begin now
}

// HandshakeStats counts refused handshakes by their reason. Those above a limit
// are counted in Stats.Refused.
type HandshakeStats struct {
	Malformed int64 // not a valid handshake
	Origin    int64 // SocketOptions.CheckOrigin
	Protocol  int64 // no common subprotocol, or two tokens
	Version   int64 // of the protocol
	Denied    int64 // by SocketOptions.Connect
	Crashed   int64 // a panic of Connect
}

// LongPollStats counts the sessions of long polling, which are counted in
// Stats.Sockets too.
type LongPollStats struct {
	Sessions int64 // now
	Expired  int64 // sessions that ended because nobody polled them
	Slow     int64 // sessions ended by DisconnectSlow
	Dropped  int64 // frames dropped by DropOldest or DropNewest
	Binary   int64 // frames of bytes left out: an answer to a poll is text
}

// TCPStats counts the sockets of raw TCP, which are counted in Stats.Sockets too.
type TCPStats struct {
	Sockets int64 // connected now
}

// HistoryStats counts what clients that joined were sent of [Options].History.
type HistoryStats struct {
	Replays  int64 // joins that asked for recorded messages, or whose rule has OnJoin
	Messages int64 // that they were sent
	// Replays before which messages were missing, by [history.Reason].
	Expired, Limited, Unknown, NodeLost int64
}

// replayCounters are the HistoryStats of an endpoint.
type replayCounters struct{ replays, messages, expired, limited, unknown, nodeLost atomic.Int64 }

// replayed counts a replay, by the first page that the client is sent.
func (r *replayCounters) replayed(page *history.Page) {
	r.replays.Add(1)
	switch page.Missing {
	case history.Expired:
		r.expired.Add(1)
	case history.Limited:
		r.limited.Add(1)
	case history.Unknown:
		r.unknown.Add(1)
	case history.NodeLost:
		r.nodeLost.Add(1)
	}
}

func (r *replayCounters) stats() HistoryStats {
	return HistoryStats{
		Replays: r.replays.Load(), Messages: r.messages.Load(),
		Expired: r.expired.Load(), Limited: r.limited.Load(), Unknown: r.unknown.Load(), NodeLost: r.nodeLost.Load(),
	}
}

type counters struct {
	replay                                                       replayCounters
	sockets, tcpSockets, channels                                atomic.Int64
	messagesIn, rateLimited, mailboxFull, crashes                atomic.Int64
	opened, mailboxHigh, heldUp, keptTooMuch, overloaded, putOff atomic.Int64
}

// addSockets counts n more sockets of a transport, or fewer if n is negative.
func (c *counters) addSockets(f frames.Framing, n int64) {
	c.sockets.Add(n)
	if f == frames.TCP {
		c.tcpSockets.Add(n)
	}
}

func handshakeStats(r *admission.Refusals) HandshakeStats {
	return HandshakeStats{
		Malformed: r.Malformed.Load(), Origin: r.Origin.Load(), Protocol: r.Protocol.Load(),
		Version: r.Version.Load(), Denied: r.Denied.Load(), Crashed: r.Crashed.Load(),
	}
}

// traffic is counted per loop and only by that loop, so that no frame waits for
// another core's cache.
type traffic struct{ bytesIn, messagesOut, bytesOut atomic.Int64 }

func (t *traffic) sent(messages, bytes int64) {
	t.messagesOut.Add(messages)
	t.bytesOut.Add(bytes)
}

// raise notes the depth of a mailbox.
func (c *counters) raise(depth int64) {
	for high := c.mailboxHigh.Load(); depth > high; high = c.mailboxHigh.Load() {
		if c.mailboxHigh.CompareAndSwap(high, depth) {
			return
		}
	}
}

// Stats returns the endpoint's counters, including those of its guests. They
// are read one after the other.
func (e *Endpoint) Stats() Stats {
	s := e.ownStats()
	if e.host != nil { // a guest: the loops are its host's
		return s
	}
	e.mu.RLock()
	if e.departed != nil {
		s.Add(*e.departed)
	}
	for guest := range e.guests {
		s.Add(guest.ownStats())
	}
	e.mu.RUnlock()
	return s
}

// Add adds the counters of another endpoint, except for Network.
func (s *Stats) Add(g Stats) {
	s.Sockets += g.Sockets
	s.Channels += g.Channels
	s.Opened += g.Opened
	s.MessagesIn += g.MessagesIn
	s.MessagesOut += g.MessagesOut
	s.BytesIn += g.BytesIn
	s.BytesOut += g.BytesOut
	s.Refused += g.Refused
	s.RateLimited += g.RateLimited
	s.KeptTooMuch += g.KeptTooMuch
	s.PutOff += g.PutOff
	s.HeldUp += g.HeldUp
	s.Overloaded += g.Overloaded
	s.MailboxFull += g.MailboxFull
	s.Crashes += g.Crashes
	s.MailboxHigh = max(s.MailboxHigh, g.MailboxHigh)
	s.Callbacks += g.Callbacks
	s.Handshakes.Malformed += g.Handshakes.Malformed
	s.Handshakes.Origin += g.Handshakes.Origin
	s.Handshakes.Protocol += g.Handshakes.Protocol
	s.Handshakes.Version += g.Handshakes.Version
	s.Handshakes.Denied += g.Handshakes.Denied
	s.Handshakes.Crashed += g.Handshakes.Crashed
	s.LongPoll.Sessions += g.LongPoll.Sessions
	s.LongPoll.Expired += g.LongPoll.Expired
	s.LongPoll.Slow += g.LongPoll.Slow
	s.LongPoll.Dropped += g.LongPoll.Dropped
	s.LongPoll.Binary += g.LongPoll.Binary
	s.TCP.Sockets += g.TCP.Sockets
	s.History.Replays += g.History.Replays
	s.History.Messages += g.History.Messages
	s.History.Expired += g.History.Expired
	s.History.Limited += g.History.Limited
	s.History.Unknown += g.History.Unknown
	s.History.NodeLost += g.History.NodeLost
}

// ownStats returns the counters without those of guests.
func (e *Endpoint) ownStats() Stats {
	c := &e.counters
	s := Stats{
		Opened: c.opened.Load(), MailboxHigh: c.mailboxHigh.Load(), Callbacks: e.callbacks.Load(),
		Sockets: c.sockets.Load(), Channels: c.channels.Load(),
		MessagesIn: c.messagesIn.Load(), Refused: e.gate.Refusals.Limit.Load(), RateLimited: c.rateLimited.Load(), HeldUp: c.heldUp.Load(), KeptTooMuch: c.keptTooMuch.Load(), PutOff: c.putOff.Load(), Overloaded: c.overloaded.Load(),
		MailboxFull: c.mailboxFull.Load(), Crashes: c.crashes.Load(),
		Handshakes: handshakeStats(&e.gate.Refusals), LongPoll: e.sessions.stats(), TCP: TCPStats{Sockets: c.tcpSockets.Load()}, History: c.replay.stats(),
	}
	for i := range e.perLoop {
		t := &e.perLoop[i].traffic
		s.MessagesOut += t.messagesOut.Load()
		s.BytesIn += t.bytesIn.Load()
		s.BytesOut += t.bytesOut.Load()
	}
	if e.host == nil {
		s.Network = NetworkStats(e.loops.Stats())
	}
	return s
}

// Subscribers returns how many subscribers topic has on this node, as
// [Endpoint.Topics] counts them.
func (e *Endpoint) Subscribers(topic string) int { return e.pubsub.Subscribers(topic) }
