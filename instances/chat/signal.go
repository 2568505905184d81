package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// signalData is the data of a signal.
type signalData struct {
	Room string `json:"room"`
	User string `json:"user"` // of post
	newMessage
}

// Signal implements instances.Signaler: the application posts a message, reads
// a room's backlog, or clears it.
func (l *logic) Signal(ctx context.Context, name string, data json.RawMessage) (any, error) {
	do := map[string]func(context.Context, *room, signalData) (any, error){"post": l.signalPost, "history": l.signalHistory, "clear": l.signalClear}[name]
	if do == nil {
		return nil, wrong("unknown signal %q: a chat takes post, history and clear", name)
	}
	var d signalData
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, wrong("the data of %s is not a JSON object with a room: %v", name, err)
	}
	if d.Room == "" || len(d.Room) > maxRoomName {
		return nil, wrong("room must have 1 to %d bytes", maxRoomName)
	}
	one, err := l.rooms.openRoom(ctx, nil, d.Room)
	if err != nil {
		var refused *channels.ReplyError
		if errors.As(err, &refused) {
			return nil, wrong("%v", refused)
		}
		return nil, err
	}
	defer l.rooms.closeRoom(one)
	return do(ctx, one, d)
}

func (l *logic) signalPost(ctx context.Context, one *room, d signalData) (any, error) {
	if d.User == "" || d.Body == "" || len(d.Body) > l.maxBody || len(d.Key) > maxKey {
		return nil, wrong("post needs a user, a body of 1 to %d bytes, and optionally a key of at most %d bytes", l.maxBody, maxKey)
	}
	return l.post(ctx, one, d.User, d.newMessage, func(text []byte) error {
		return l.in.Endpoint().BroadcastStored(ctx, one.topic, "new_msg", json.RawMessage(text))
	})
}

func (l *logic) signalHistory(ctx context.Context, one *room, _ signalData) (any, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	kept, err := l.rooms.kept(ctx, one)
	if err != nil {
		return nil, err
	}
	texts, _ := one.backlog.since(kept, 0)
	return map[string]any{"messages": texts}, nil
}

func (l *logic) signalClear(ctx context.Context, one *room, _ signalData) (any, error) {
	var told error
	_, err := l.rooms.erase(ctx, one.name, instances.Erasure{}, func() (n int, err error) {
		if n, err = l.rooms.history.Delete(one.topic); err == nil {
			one.backlog.clear()
			l.rooms.backlogChanged(one) // it is saved in any case
			told = l.in.Broadcast(one.topic, "cleared", struct{}{})
		}
		return n, err
	})
	return nil, errors.Join(err, told)
}

func wrong(format string, args ...any) error {
	return &instances.SignalError{Reason: fmt.Sprintf(format, args...)}
}
