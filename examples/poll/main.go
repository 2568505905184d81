// Command poll is a server of polls. Each poll is an instance of a type that this
// program defines, created over HTTP while the server runs. Clients connect with
// phoenix.js to ws://localhost:4000/socket/ID.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
	"github.com/mycelium-rt/mycelium/units"
)

type config struct {
	Question string         `json:"question" jsonschema:"minLength=1,description=the question"`
	Choices  []string       `json:"choices" jsonschema:"minItems=2,description=the possible answers"`
	Open     units.Duration `json:"open,omitempty" jsonschema:"default=1h,description=how long the poll is open"`
}

type poll struct {
	in     *instances.Instance
	config config

	mu    sync.Mutex
	Votes map[string]string `json:"votes"` // guarded by mu; by user
	Ends  time.Time         `json:"ends"`  // guarded by mu
	Over  bool              `json:"over"`  // guarded by mu
}

func newPoll(in *instances.Instance, c config) (instances.Logic, error) {
	if len(slices.Compact(slices.Sorted(slices.Values(c.Choices)))) < len(c.Choices) {
		return nil, instances.Invalid("/choices", "has a choice twice")
	}
	if c.Open == 0 {
		c.Open = units.Duration(time.Hour)
	}
	return &poll{in: in, config: c, Votes: make(map[string]string), Ends: time.Now().Add(time.Duration(c.Open))}, nil
}

// user is the name that the client joined with.
var user = channels.NewKey[string]("user")

type joinParams struct {
	User string `json:"user"`
}

type vote struct {
	Choice string `json:"choice"`
}

type result struct {
	Question string         `json:"question"`
	Counts   map[string]int `json:"counts"`
	Over     bool           `json:"over"`
}

func (p *poll) Channels() []*channels.Channel {
	ch := channels.Handle("poll", func(c *channels.Context, params joinParams) (result, error) {
		if params.User == "" {
			return result{}, channels.Errorf("join with your name as user")
		}
		user.Set(c, params.User)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.result(), nil
	})
	channels.On(ch, "vote", func(c *channels.Context, v vote) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, p.vote(c, user.Get(c), v.Choice)
	})
	return []*channels.Channel{ch}
}

// vote saves a vote before it is acknowledged, so an acknowledged vote survives a
// crash.
func (p *poll) vote(ctx context.Context, user, choice string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Over {
		return channels.Errorf("the poll is over")
	}
	if !slices.Contains(p.config.Choices, choice) {
		return channels.Errorf("choice is %q, want one of %q", choice, p.config.Choices)
	}
	before := maps.Clone(p.Votes)
	p.Votes[user] = choice
	if err := p.save(ctx); err != nil {
		p.Votes = before
		return err
	}
	return p.in.Broadcast("poll", "result", p.result())
}

func (p *poll) result() result { // with mu
	counts := make(map[string]int)
	for _, choice := range p.config.Choices {
		counts[choice] = 0
	}
	for _, choice := range p.Votes {
		counts[choice]++
	}
	return result{p.config.Question, counts, p.Over}
}

func (p *poll) save(ctx context.Context) error { // with mu
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return p.in.Save(ctx, "poll", text)
}

// Start loads what an earlier life of the instance saved.
func (p *poll) Start(ctx context.Context) error {
	text, err := p.in.Load(ctx, "poll")
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, instances.ErrNoState):
		return p.save(ctx) // so that a restart does not change when it ends
	case err != nil:
		return err
	}
	return json.Unmarshal(text, p)
}

func (p *poll) TickEvery() time.Duration { return time.Second }

// Tick ends the poll when its time is up.
func (p *poll) Tick(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Over || now.Before(p.Ends) {
		return nil
	}
	return p.endPoll(p.in.Context())
}

func (p *poll) endPoll(ctx context.Context) error { // with mu
	p.Over = true
	if err := p.save(ctx); err != nil {
		p.Over = false
		return err
	}
	return p.in.Broadcast("poll", "result", p.result())
}

// Signal handles the signals of the application: result and end.
func (p *poll) Signal(ctx context.Context, name string, _ json.RawMessage) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case "result":
		return p.result(), nil
	case "end":
		err := p.endPoll(ctx)
		return p.result(), err
	}
	return nil, &instances.SignalError{Reason: fmt.Sprintf("unknown signal %q: a poll takes result and end", name)}
}

// polls makes the manager of the polls, and starts those of an earlier run.
func polls(ctx context.Context, endpoint *channels.Endpoint, store instances.Store) (*instances.Manager, error) {
	manager := instances.New(endpoint, instances.Options{Store: store})
	manager.Register(instances.Define("poll", "A question with several choices.", newPoll))
	return manager, manager.Open(ctx)
}

// run serves polls, and the API that creates them for holders of the key, until ctx is
// done.
func run(ctx context.Context, addr, folder string, key httpapi.Key) error {
	store, err := boltstore.Open(folder)
	if err != nil {
		return err
	}
	defer store.Close()
	mux := http.NewServeMux()
	endpoint, err := channels.NewEndpoint(channels.Options{Handler: mux, Logger: channels.SlogLogger(slog.Default())})
	if err != nil {
		return err
	}
	manager, err := polls(ctx, endpoint, store)
	if err != nil {
		return err
	}
	api, err := httpapi.New(manager, httpapi.Options{Keys: []httpapi.Key{key}})
	if err != nil {
		return err
	}
	mux.Handle(httpapi.Prefix+"/", api)
	if _, err := endpoint.Listen(addr); err != nil {
		return err
	}
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(manager.Close(down), endpoint.Shutdown(down))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	secret, key := httpapi.NewKey("operator", []httpapi.Scope{httpapi.Admin}, nil)
	fmt.Println("export MYCELIUM_KEY=" + secret)
	if err := run(ctx, ":4000", "polls", key); err != nil {
		log.Fatal(err)
	}
}
