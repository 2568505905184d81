package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/visitor"
)

// topicPrefix is what precedes a room's name in its topic.
const topicPrefix = "room:"

// Bounds of what clients send, in bytes.
const (
	maxRoomName = 128
	maxMeta     = 1024 // it is sent to everybody in the room
	maxKey      = 64
)

// Type returns the type of instances that chat.
func Type() instances.Type {
	return instances.Define("chat", "Rooms with messages, typing and presence, and a backlog for those who come later.",
		func(in *instances.Instance, c Config) (instances.Logic, error) {
			c, err := c.withDefaults()
			if err != nil {
				return nil, err
			}
			return &logic{in: in, maxBody: c.MaxBody, rooms: newRooms(in, c)}, nil
		})
}

// logic is one instance.
type logic struct {
	in      *instances.Instance
	maxBody int
	rooms   *rooms
}

var (
	_ instances.Starter  = (*logic)(nil)
	_ instances.Stopper  = (*logic)(nil)
	_ instances.Signaler = (*logic)(nil)
	_ instances.Archiver = (*logic)(nil)
)

// Start implements instances.Starter.
func (l *logic) Start(ctx context.Context) error { return l.rooms.start(ctx) }

// Stop implements instances.Stopper.
func (l *logic) Stop(ctx context.Context) error { return l.rooms.save(ctx) }

// LoadHistory implements instances.Archiver.
func (l *logic) LoadHistory(ctx context.Context, topic string) error {
	name, ok := roomOf(topic)
	if !ok {
		return nil
	}
	one := l.rooms.hold(name)
	defer l.rooms.closeRoom(one)
	one.mu.Lock()
	defer one.mu.Unlock()
	return l.rooms.load(ctx, one)
}

// EraseHistory implements instances.Archiver.
func (l *logic) EraseHistory(ctx context.Context, topic string, e instances.Erasure, erase func() (int, error)) (int, error) {
	name, ok := roomOf(topic)
	if !ok {
		return erase()
	}
	return l.rooms.erase(ctx, name, e, erase)
}

// roomOf returns the name of the room that a topic is for.
func roomOf(topic string) (name string, ok bool) {
	name, ok = strings.CutPrefix(topic, topicPrefix)
	return name, ok && name != "" && len(name) <= maxRoomName
}

// Channels implements instances.Logic.
func (l *logic) Channels() []*channels.Channel {
	room := channels.Handle(topicPrefix+"*", l.join)
	channels.Info(room, l.joined)
	channels.Info(room, l.pushBacklog)
	channels.On(room, "new_msg", l.say)
	channels.On(room, "typing", typing)
	room.OnAny(func(_ *channels.Context, event string, _ channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, channels.Errorf("unknown event %q: a room takes new_msg and typing", event)
	})
	return []*channels.Channel{room}
}

type joinParams struct {
	User  string          `json:"user"`  // unless the socket has been given one
	Meta  json.RawMessage `json:"meta"`  // a JSON object, shown with the presence
	Since int64           `json:"since"` // id of the last message that the client has
}

type joinReply struct {
	User string `json:"user"` // the name that it goes by
}

// afterJoin is sent when the client is subscribed, so that what it is sent then
// has no gap.
type afterJoin struct {
	meta  json.RawMessage
	since int64
}

func (l *logic) join(c *channels.Context, p joinParams) (joinReply, error) {
	name, err := visitor.Name(c, p.User)
	switch {
	case err != nil:
		return joinReply{}, err
	case c.Subtopic() == "":
		return joinReply{}, channels.Errorf("the room has no name: join room:NAME")
	case len(c.Subtopic()) > maxRoomName:
		return joinReply{}, channels.Errorf("the room's name is longer than %d bytes", maxRoomName)
	case len(p.Meta) > maxMeta:
		return joinReply{}, channels.Errorf("meta is longer than %d bytes", maxMeta)
	}
	if len(p.Meta) == 0 || string(p.Meta) == "null" {
		p.Meta = json.RawMessage("{}")
	}
	if !bytes.HasPrefix(p.Meta, []byte("{")) {
		return joinReply{}, channels.Errorf("meta is not a JSON object")
	}
	one, err := l.rooms.openRoom(c, c.Socket(), c.Subtopic())
	if err != nil {
		return joinReply{}, err
	}
	c.OnEnd(func() { l.rooms.closeRoom(one) })
	userKey.Set(c, name)
	roomKey.Set(c, one)
	return joinReply{name}, c.Send(afterJoin{p.Meta, p.Since})
}

// Values kept with a joined channel: the name of its client and its room.
var (
	userKey = channels.NewKey[string]("user")
	roomKey = channels.NewKey[*room]("room")
)

type backlogPush struct {
	Messages []json.RawMessage `json:"messages"`
	// Complete reports whether nothing is missing between since and the first
	// message.
	Complete bool `json:"complete"`
}

func (l *logic) joined(c *channels.Context, a afterJoin) error {
	if _, err := l.in.Presence().Track(c, userKey.Get(c), a.meta); err != nil {
		return err
	}
	if err := l.in.Presence().PushState(c); err != nil {
		return err
	}
	return l.pushBacklog(c, backlogDue{a.since})
}

// backlogDue is sent when the client must be sent the messages since a message.
type backlogDue struct{ since int64 }

func (l *logic) pushBacklog(c *channels.Context, due backlogDue) error {
	one := roomKey.Get(c)
	one.mu.Lock()
	defer one.mu.Unlock()
	kept, err := l.rooms.kept(c, one)
	if err != nil {
		return err
	}
	texts, complete := one.backlog.since(kept, due.since)
	return c.PushFresh("backlog", backlogPush{texts, complete}, due)
}

type newMessage struct {
	Body string `json:"body"`
	Key  string `json:"key"`
}

type said struct {
	ID int64     `json:"id"`
	At time.Time `json:"at"`
}

func (l *logic) say(c *channels.Context, m newMessage) (said, error) {
	switch {
	case m.Body == "":
		return said{}, channels.Errorf("body is missing: a message has a text")
	case len(m.Body) > l.maxBody:
		return said{}, channels.Errorf("body is longer than %d bytes", l.maxBody)
	case len(m.Key) > maxKey:
		return said{}, channels.Errorf("key is longer than %d bytes", maxKey)
	}
	return l.post(c, roomKey.Get(c), userKey.Get(c), m, func(text []byte) error {
		return c.Broadcast("new_msg", json.RawMessage(text))
	})
}

// post sends a message, which history records, in the same order as others. If its user
// has sent one with the same key before, post returns that one.
func (l *logic) post(ctx context.Context, one *room, user string, m newMessage, send func(text []byte) error) (said, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	sent, again, err := one.backlog.find(user, m.Key, func() ([]entry, error) { return l.rooms.kept(ctx, one) })
	if err != nil || again {
		return said{sent.ID, sent.At}, err
	}
	sent = one.backlog.next(user, m.Body, m.Key, time.Now())
	text, err := json.Marshal(sent)
	if err != nil {
		return said{}, err
	}
	err = send(text)
	rule, _ := l.rooms.history.Keeps(one.topic)
	one.backlog.sent(&sent, rule.Messages)
	l.rooms.messageSent(one, entry{sent.ID, sent.At, text})
	return said{sent.ID, sent.At}, err
}

type typingParams struct {
	Typing *bool `json:"typing"`
}

type typingPush struct {
	User   string `json:"user"`
	Typing bool   `json:"typing"`
}

func typing(c *channels.Context, p typingParams) (struct{}, error) {
	if p.Typing == nil {
		return struct{}{}, channels.Errorf("typing is missing: it is true or false")
	}
	return struct{}{}, c.BroadcastFrom("typing", typingPush{userKey.Get(c), *p.Typing})
}
