package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/graph-gophers/graphql-go"
)

const schemaText = `
	type Message {
		id: ID!
		room: String!
		user: String!
		body: String!
	}
	type Query {
		"The newest messages of a room, oldest first."
		messages(room: String!): [Message!]!
	}
	type Mutation {
		post(room: String!, user: String!, body: String!): Message!
	}
	type Subscription {
		posted(room: String!): Message!
	}
`

func newSchema(c *chat) *graphql.Schema {
	// Deep enough for the introspection query of clients.
	return graphql.MustParseSchema(schemaText, c, graphql.UseFieldResolvers(), graphql.MaxDepth(20))
}

const (
	maxRooms = 1000
	maxKept  = 100  // messages of a room
	maxText  = 1000 // bytes of a name or a message
)

// chat is a chat in memory. Its methods with a context or arguments resolve the
// fields of the schema.
type chat struct {
	mu       sync.Mutex
	last     int                              // guarded by mu, as the fields below; id of the newest message
	kept     map[string][]*message            // by room, in order
	watchers map[string]map[*watcher]struct{} // by room
}

type message struct {
	ID   graphql.ID
	Room string
	User string
	Body string
}

// watcher is a running subscription.
type watcher struct {
	ctx      context.Context // done when the subscription has ended
	messages chan *message
}

func newChat() *chat {
	return &chat{kept: make(map[string][]*message), watchers: make(map[string]map[*watcher]struct{})}
}

func (c *chat) Messages(args struct{ Room string }) []*message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*message{}, c.kept[args.Room]...)
}

func (c *chat) Post(args struct{ Room, User, Body string }) (*message, error) {
	for name, text := range map[string]string{"room": args.Room, "user": args.User, "body": args.Body} {
		if text == "" || len(text) > maxText {
			return nil, fmt.Errorf("%s has %d bytes, want 1 to %d", name, len(text), maxText)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.kept[args.Room]
	if kept == nil && len(c.kept) == maxRooms {
		return nil, fmt.Errorf("there are %d rooms already", maxRooms)
	}
	c.last++
	m := &message{graphql.ID(strconv.Itoa(c.last)), args.Room, args.User, args.Body}
	c.kept[args.Room] = append(kept[max(0, len(kept)-maxKept+1):], m)
	// The lock gives all subscriptions the messages in the same order.
	for w := range c.watchers[args.Room] {
		select {
		case w.messages <- m:
		case <-w.ctx.Done():
		}
	}
	return m, nil
}

func (c *chat) Posted(ctx context.Context, args struct{ Room string }) <-chan *message {
	w := &watcher{ctx, make(chan *message)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers[args.Room] == nil {
		c.watchers[args.Room] = make(map[*watcher]struct{})
	}
	c.watchers[args.Room][w] = struct{}{}
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers[args.Room], w)
		if len(c.watchers[args.Room]) == 0 {
			delete(c.watchers, args.Room)
		}
	})
	return w.messages
}
