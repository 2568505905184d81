package channels

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// A broadcast on a topic whose history is durable is stored first, and delivered when it
// comes back from where it is stored. Broadcast and Relay do not wait for that: the reply
// of the handler that called them does. So no loop waits, and a client that is answered
// "ok" knows that its message will not be lost.

// ErrNotStored is returned for a broadcast on a topic with a durable history that could
// not be stored, with the reason. A handler that returns it refuses the event, and so
// does one that has returned before: its reply becomes an error. The message may be
// delivered all the same, if only the answer of the store was lost.
var ErrNotStored = history.ErrNotStored

// stores reports whether a broadcast is stored before it is delivered.
func (e *Endpoint) stores(topic, event string) bool {
	return e.history != nil && e.history.Stores(topic, event) && ReservedEvent(event) == ""
}

// store has a broadcast stored. done is called once, on any goroutine. An error means
// that the message cannot be broadcast; done is then not called.
func (e *Endpoint) store(topic, event string, p Payload, sender uint64, done func(error)) error {
	b, err := objectBroadcast(topic, event, p) // what could not be delivered is not stored
	if err != nil {
		return err
	}
	b.Release()
	e.history.Append(topic, &history.Message{Event: event, Payload: p.Data, Binary: p.Binary, Sender: sender}, done)
	return nil
}

// BroadcastStored is like [Endpoint.Broadcast], but on a topic with a durable history it
// waits until the message is stored, and returns ErrNotStored if it could not be. On
// other topics it does not wait. It must not be called on an event loop.
func (e *Endpoint) BroadcastStored(ctx context.Context, topic, event string, payload any) error {
	if !e.stores(topic, event) {
		return e.Broadcast(topic, event, payload)
	}
	if err := e.calm(); err != nil {
		return err
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	stored := make(chan error, 1)
	if err := e.store(topic, event, p, 0, func(err error) { stored <- err }); err != nil {
		return err
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unwatched is a broadcast whose sender does not wait until it is stored.
type unwatched struct {
	mu       sync.Mutex
	returned bool  // guarded by mu: its sender is no longer told
	err      error // guarded by mu
}

// storeUnwatched has a broadcast stored, and returns only what fails at once. What fails
// later is logged.
func (e *Endpoint) storeUnwatched(topic, event string, p Payload, sender uint64) error {
	var u unwatched
	err := e.store(topic, event, p, sender, func(err error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.err = err; u.returned && err != nil {
			e.log.Warn("a broadcast was not stored").Err(err).Str("topic", topic).Str("event", event).Write()
		}
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.returned = true
	if err != nil {
		return err
	}
	return u.err
}

// unstored are the broadcasts of one handler that are not stored yet.
type unstored struct {
	c *Context

	// Guarded by c.life.mu.
	count int
	err   error // of the first that failed
	ref   wire.Ref
	reply *netloop.Frame // waits for all of them; nil: the handler has not returned, or sends none
}

// store has a broadcast of the channel stored, and the reply of the handler that runs, if
// one does, wait for that.
func (c *Context) store(event string, p Payload, from *Context) error {
	var sender uint64
	if from != nil {
		sender = c.nameItself()
	}
	c.life.mu.Lock()
	u := c.rareLocked().unstored
	if u == nil {
		c.life.mu.Unlock()
		return c.socket.endpoint.storeUnwatched(c.topic, event, p, sender)
	}
	u.count++
	c.life.mu.Unlock()
	err := c.socket.endpoint.store(c.topic, event, p, sender, u.stored)
	if err != nil {
		u.stored(nil) // the caller gets the error
	}
	return err
}

// nameItself returns what identifies the client in history. A client that has not named
// itself is given a number, so that it can be told from others when a message comes back.
func (c *Context) nameItself() uint64 {
	c.life.mu.Lock()
	r := c.rareLocked()
	sender := r.sender
	if sender == 0 {
		var b [8]byte
		rand.Read(b[:])
		sender = max(1, binary.BigEndian.Uint64(b[:]))
		r.sender = sender
		c.socket.loop.Post((*naming)(c)) // before the message can come back
	}
	c.life.mu.Unlock()
	return sender
}

// naming is a Context as a task: it notes that the channel has a sender.
type naming Context

// Run is for the loop.
func (t *naming) Run() { (*Context)(t).history |= named }

// storesSome reports whether broadcasts of the channel may be stored.
func (c *Context) storesSome() bool {
	h := c.socket.endpoint.history
	return h != nil && h.StoresTopic(c.topic)
}

// beginStoring prepares a handler whose broadcasts may be stored.
func (c *Context) beginStoring() {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	c.rareLocked().unstored = &unstored{c: c}
}

// endStoring returns what a handler's reply has to wait for, nil if there is nothing. err
// is that of a broadcast that has failed already.
func (c *Context) endStoring() (u *unstored, err error) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	r := c.rareLocked()
	u, r.unstored = r.unstored, nil
	if u.err != nil || u.count == 0 {
		return nil, u.err
	}
	return u, nil
}

// replyWhenStored sends the reply of a handler when its broadcasts are stored.
func (c *Context) replyWhenStored(ref wire.Ref, r Reply) error {
	u, err := c.endStoring()
	switch {
	case err != nil:
		return c.answerError(ref, err)
	case u == nil || r.Status == "":
		return c.answerReply(ref, r)
	}
	f, err := c.replyFrame(ref, r.Status, r.Response)
	if err != nil {
		return err
	}
	c.life.mu.Lock()
	if u.count > 0 {
		u.ref, u.reply = ref.Clone(), f
		c.socket.endpoint.callbacks.Add(1) // so that Shutdown waits
		c.life.mu.Unlock()
		return nil
	}
	err = u.err
	c.life.mu.Unlock()
	if err == nil {
		return c.send(f)
	}
	f.Release()
	return c.answerError(ref, err)
}

// stored notes that a broadcast is stored or, with err, that it is not. Any goroutine may
// call it.
func (u *unstored) stored(err error) {
	c := u.c
	c.life.mu.Lock()
	u.count--
	if u.err == nil {
		u.err = err
	}
	f := u.reply
	if u.count > 0 || f == nil {
		c.life.mu.Unlock()
		return
	}
	u.reply = nil
	err = u.err
	c.life.mu.Unlock()
	defer c.socket.endpoint.callbacks.Add(-1)
	if err == nil {
		c.send(f) //nolint:errcheck // a client that has gone needs no answer
		return
	}
	f.Release()
	c.reply(u.ref, "error", c.errorResponse(err)) //nolint:errcheck // likewise
}

// reasonNotStored returns the reason in the reply to an event that was not stored.
func reasonNotStored(err error) string {
	_, why, _ := strings.Cut(err.Error(), ErrNotStored.Error())
	return "not stored" + why
}
