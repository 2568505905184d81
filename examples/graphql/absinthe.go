package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/graph-gophers/graphql-go"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/mycelium-rt/mycelium/channels"
)

// document is what a client pushes as the event doc.
type document struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
}

// subscription is the reply to a document with a subscription, and the payload of the
// event unsubscribe and of its reply.
type subscription struct {
	ID string `json:"subscriptionId"`
}

// result is the payload of the event subscription:data.
type result struct {
	subscription
	Result any `json:"result"`
}

// feeds has the running subscriptions. Clients that send the same document with the
// same variables share a feed: each event is resolved and encoded once, and broadcast
// to a topic with the subscription's id as its name, which the control channels of
// these clients forward. If the results of a schema depend on the user, they must not
// be shared: make the user a part of feedID.
type feeds struct {
	endpoint *channels.Endpoint
	schema   *graphql.Schema

	mu   sync.Mutex
	byID map[string]*feed // guarded by mu
}

type feed struct {
	id        string
	ctx       context.Context
	cancel    context.CancelFunc
	followers int // guarded by feeds.mu

	// sending is held while a result is broadcast, and also from adding a client until
	// its reply is sent: clients drop results of subscriptions that they do not know yet.
	sending sync.Mutex
}

// following has a channel's subscriptions by id.
var following = channels.NewKey[map[string]*feed]("following")

// absinthe returns the channel for clients of Absinthe.
func absinthe(endpoint *channels.Endpoint, schema *graphql.Schema) *channels.Channel {
	fs := &feeds{endpoint: endpoint, schema: schema, byID: make(map[string]*feed)}
	control := channels.Handle("__absinthe__:control", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		mine := make(map[string]*feed)
		following.Set(c, mine)
		c.OnEnd(func() {
			for _, f := range mine {
				fs.unfollow(f)
			}
		})
		return channels.NoReply{}, nil
	})
	channels.On(control, "doc", func(c *channels.Context, d document) (channels.Reply, error) {
		if isSubscription(d) {
			return fs.subscribe(c, d)
		}
		return reply(schema.Exec(c, d.Query, d.OperationName, d.Variables)), nil
	})
	channels.On(control, "unsubscribe", func(c *channels.Context, s subscription) (subscription, error) {
		if f := following.Get(c)[s.ID]; f != nil {
			delete(following.Get(c), s.ID)
			c.Unsubscribe(s.ID)
			fs.unfollow(f)
		}
		return s, nil
	})
	return control
}

// isSubscription reports whether a document is a subscription. If it cannot be parsed,
// executing it returns the error.
func isSubscription(d document) bool {
	parsed, err := parser.ParseQuery(&ast.Source{Input: d.Query})
	if err != nil {
		return false
	}
	op := parsed.Operations.ForName(d.OperationName)
	return op != nil && op.Operation == ast.Subscription
}

// reply returns the reply to a document. As with Absinthe, a response without data is
// an error.
func reply(r *graphql.Response) channels.Reply {
	if r.Data == nil {
		return channels.Reply{Status: "error", Response: r}
	}
	return channels.Reply{Status: "ok", Response: r}
}

func (fs *feeds) subscribe(c *channels.Context, d document) (channels.Reply, error) {
	if errs := fs.schema.ValidateWithVariables(d.Query, d.Variables); len(errs) > 0 {
		return reply(&graphql.Response{Errors: errs}), nil
	}
	f, err := fs.follow(feedID(c, d), d)
	if err != nil {
		return channels.Reply{}, err
	}
	f.sending.Lock()
	defer f.sending.Unlock()
	if err := c.Forward(f.id); err != nil {
		fs.unfollow(f)
		return channels.Reply{}, err
	}
	following.Get(c)[f.id] = f
	return channels.Reply{}, c.Ref().Reply("ok", subscription{f.id})
}

// feedID returns an id that is the same for the same document, except that a client
// that sends it twice has two subscriptions.
func feedID(c *channels.Context, d document) string {
	text, _ := json.Marshal(d) // it was decoded from JSON
	for n := 0; ; n++ {
		id := fmt.Sprintf("__absinthe__:doc:%d:%x", n, sha256.Sum256(text))
		if following.Get(c)[id] == nil {
			return id
		}
	}
}

// follow adds a follower to a feed, and starts it for the first one.
func (fs *feeds) follow(id string, d document) (*feed, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.byID[id]
	if f == nil {
		f = &feed{id: id}
		f.ctx, f.cancel = context.WithCancel(context.Background())
		results, err := fs.schema.Subscribe(f.ctx, d.Query, d.OperationName, d.Variables)
		if err != nil {
			f.cancel()
			return nil, err
		}
		go fs.send(f, results)
		fs.byID[id] = f
	}
	f.followers++
	return f, nil
}

// send broadcasts results until the feed ends.
func (fs *feeds) send(f *feed, results <-chan any) {
	for r := range results {
		f.sending.Lock()
		if f.ctx.Err() == nil {
			if err := fs.endpoint.Broadcast(f.id, "subscription:data", result{subscription{f.id}, r}); err != nil {
				slog.Warn("a result was lost", "subscription", f.id, "error", err)
			}
		}
		f.sending.Unlock()
	}
}

func (fs *feeds) unfollow(f *feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.followers--; f.followers == 0 {
		f.cancel()
		delete(fs.byID, f.id)
	}
}
