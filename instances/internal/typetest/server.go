// Package typetest runs an instance of a type on a server in memory, for tests
// of the built-in types.
package typetest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
)

// ID is the id of the instance.
const ID = "one"

// Server is one life of a server with one instance, whose store outlives it.
type Server struct {
	T        *testing.T
	Manager  *instances.Manager
	Endpoint *channelstest.Endpoint
	closed   bool
}

// Start serves an instance of a type with a configuration, which replaces the
// one in store; nil means a new store. It is stopped when the test ends.
func Start(t *testing.T, kind instances.Type, store instances.Store, config string) *Server {
	t.Helper()
	return StartLimited(t, channels.Limits{}, kind, store, config)
}

// StartLimited is [Start] on an endpoint with these limits.
func StartLimited(t *testing.T, limits channels.Limits, kind instances.Type, store instances.Store, config string) *Server {
	t.Helper()
	return StartWith(t, limits, instances.Options{Store: store}, kind, config)
}

// StartWith is [Start] on an endpoint with these limits, with options of the manager.
func StartWith(t *testing.T, limits channels.Limits, o instances.Options, kind instances.Type, config string) *Server {
	t.Helper()
	host := channels.Options{Limits: limits, Drain: channels.Drain{Batch: 100, Interval: time.Millisecond}}
	s := &Server{T: t, Endpoint: channelstest.Start(t, host)}
	s.Manager = instances.New(s.Endpoint.Endpoint, o)
	t.Cleanup(s.Stop)
	s.Manager.Register(kind)
	if err := s.Manager.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, _, err := s.Manager.Create(t.Context(), instances.Spec{ID: ID, Type: kind.Name(), Config: json.RawMessage(config)})
	if other := new(instances.ConflictError); errors.As(err, &other) {
		_, err = s.Manager.Update(t.Context(), ID, instances.AnyRevision, func(spec *instances.Spec) error {
			spec.Config = json.RawMessage(config)
			return nil
		})
		if err == nil {
			i, err = s.Manager.Await(t.Context(), ID, instances.Running)
		}
	}
	if err != nil || i.State != instances.Running {
		t.Fatalf("creating an instance of %s: %+v, %v", kind.Name(), i, err)
	}
	return s
}

// Stop stops the server; what was saved is in the store.
func (s *Server) Stop() {
	if s.closed {
		return
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Manager.Close(ctx); err != nil {
		s.T.Error(err)
	}
}

// Join connects a client and joins a topic of the instance.
func (s *Server) Join(topic string, params any) *channelstest.Channel {
	s.T.Helper()
	return channelstest.Connect(s.T, s.Endpoint, "/socket/"+ID).Join(topic, params)
}
