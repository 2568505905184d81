package channelstest

import (
	"encoding/json"
	"fmt"
)

// Channel is a topic that a client has joined.
type Channel struct {
	client  *Client
	topic   string
	joinRef string
}

// Reply is the server's answer to a push.
type Reply struct {
	Status   string
	Response json.RawMessage // nil for a binary one
	Binary   []byte
}

// Push is a message that the client has sent, which may get a reply.
type Push struct {
	channel *Channel
	ref     string
}

// Channel returns the channel that the message was pushed to.
func (p *Push) Channel() *Channel { return p.channel }

// Topic returns the topic of the channel.
func (ch *Channel) Topic() string { return ch.topic }

// Push sends an event. payload is anything that encoding/json takes, or
// channels.Binary.
func (ch *Channel) Push(event string, payload any) *Push {
	ch.client.t.Helper()
	p := &Push{channel: ch, ref: ch.client.nextRef()}
	ch.client.send(ch.joinRef, p.ref, ch.topic, event, payload)
	return p
}

// Leave leaves the topic and waits for phx_close.
func (ch *Channel) Leave() {
	ch.client.t.Helper()
	ch.Push("phx_leave", nil).AssertReply("ok", nil)
	ch.AssertClose()
}

// Reply waits for the reply and returns it.
func (p *Push) Reply() (reply Reply) {
	c := p.channel.client
	c.t.Helper()
	c.await("reply to "+p.ref, func() bool {
		m, ok := c.takeMessage(func(m message) bool {
			return m.event == "phx_reply" && m.topic == p.channel.topic && m.ref == p.ref
		})
		reply = m.reply
		return ok
	})
	return reply
}

// AssertReply waits for the reply, and fails the test if it is another one.
func (p *Push) AssertReply(status string, response any) {
	t := p.channel.client.t
	t.Helper()
	reply := p.Reply()
	if reply.Status != status || !matches(response, reply.Response, reply.Binary) {
		t.Fatalf("channelstest: reply is %s %s, want %s %s", reply.Status, show(reply.Response, reply.Binary), status, showWanted(response))
	}
}

// RefuteReply fails the test if a reply comes.
func (p *Push) RefuteReply() {
	p.channel.client.t.Helper()
	p.channel.client.refute("reply", func(m message) bool { return m.event == "phx_reply" && m.ref == p.ref })
}

// AssertPush waits for an event that is pushed or broadcast to this client, and
// returns its payload.
func (ch *Channel) AssertPush(event string, payload any) json.RawMessage {
	ch.client.t.Helper()
	return ch.assertEvent(event, payload, ch.matcher(event, payload))
}

// AssertBroadcast is like AssertPush, for an event that was broadcast to the
// topic: one that was pushed or intercepted does not match.
func (ch *Channel) AssertBroadcast(event string, payload any) json.RawMessage {
	ch.client.t.Helper()
	match := ch.matcher(event, payload)
	return ch.assertEvent(event, payload, func(m message) bool { return m.joinRef == "" && match(m) })
}

func (ch *Channel) assertEvent(event string, payload any, match func(message) bool) (got json.RawMessage) {
	c := ch.client
	c.t.Helper()
	c.await(fmt.Sprintf("%s %s on %s", event, showWanted(payload), ch.topic), func() bool {
		m, ok := c.takeMessage(match)
		got = m.payload
		return ok
	})
	return got
}

// RefutePush fails the test if the client gets the event.
func (ch *Channel) RefutePush(event string, payload any) {
	ch.client.t.Helper()
	ch.client.refute(event, ch.matcher(event, payload))
}

// AssertClose waits for phx_close, which the client gets when the channel
// stopped or was left.
func (ch *Channel) AssertClose() { ch.client.t.Helper(); ch.assertEnd("phx_close") }

// AssertError waits for phx_error, which the client gets when the channel
// crashed.
func (ch *Channel) AssertError() { ch.client.t.Helper(); ch.assertEnd("phx_error") }

func (ch *Channel) assertEnd(event string) {
	c := ch.client
	c.t.Helper()
	c.await(event+" on "+ch.topic, func() bool {
		_, ok := c.takeMessage(func(m message) bool {
			return m.event == event && m.topic == ch.topic && m.joinRef == ch.joinRef
		})
		return ok
	})
}

// matcher accepts broadcasts, which have no join_ref, and pushes to this join.
func (ch *Channel) matcher(event string, payload any) func(message) bool {
	return func(m message) bool {
		return m.topic == ch.topic && m.event == event && (m.joinRef == "" || m.joinRef == ch.joinRef) &&
			matches(payload, m.payload, m.binary)
	}
}
