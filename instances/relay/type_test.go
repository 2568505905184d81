package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

// TestType: a relay as an instance, and what of it can change while it runs.
func TestType(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	m := instances.New(e.Endpoint, instances.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	m.Register(relay.Type())
	spec := instances.Spec{ID: "r", Type: "relay", Config: json.RawMessage(`{"topics":["room:*"]}`)}
	if _, _, err := m.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	client := channelstest.Connect(t, e, "/socket/r?user=ada")
	room := client.Join("room:1", nil)
	room.Push("new_msg", object{"n": 1}).AssertReply("ok", object{})
	room.AssertBroadcast("new_msg", object{"n": 1})
	if who, err := m.Presence("r", "room:1"); err != nil || len(who["ada"].Metas) != 1 {
		t.Errorf("present: %v, %v", who, err)
	}
	if _, reply := client.TryJoin("game:1", nil); reply.Status != "error" {
		t.Errorf("a topic that is not served: %+v", reply)
	}
	change := func(config string) error {
		_, err := m.Update(t.Context(), "r", instances.AnyRevision, func(s *instances.Spec) error {
			s.Config = json.RawMessage(config)
			return nil
		})
		return err
	}
	if err := change(`{"topics":["game:*"],"presence_off":["*"]}`); err != nil {
		t.Fatal(err)
	}
	client.Join("room:2", nil) // who is connected keeps what was
	channelstest.Connect(t, e, "/socket/r").Join("game:1", nil)
	if who, err := m.Presence("r", "game:1"); err != nil || len(who) != 0 {
		t.Errorf("present: %v, %v", who, err)
	}
	var invalid fielderr.List
	if err := change(`{"topics":["a*b"]}`); !errors.As(err, &invalid) || invalid[0].Field != "/config/topics" {
		t.Errorf("a bad pattern: %v", err)
	}
	if err := change(`{"presence_window":"61s"}`); !errors.As(err, &invalid) || invalid[0].Field != "/config/presence_window" {
		t.Errorf("a window above the server's: %v", err)
	}
	if err := change(`{"presence_window":"10ms"}`); err != nil { // a new tracker, so a new life
		t.Fatal(err)
	}
	client.AssertClosed(1012)
}

// TestPublish: the first rule that fits decides; where none does, everybody may.
func TestPublish(t *testing.T) {
	e := start(t, relay.Options{Publish: []relay.Rule{
		{Topics: []string{"news:*"}, Events: []string{"vote"}, By: "everybody"},
		{Topics: []string{"news:*"}, By: "nobody"},
		{Events: []string{"admin_*"}, By: "assign", Assign: "user", Values: []string{"ada", "kim"}},
	}})
	ada, bob := channelstest.Connect(t, e, "/socket?user=ada"), channelstest.Connect(t, e, "/socket?user=bob")
	for _, test := range []struct {
		client       *channelstest.Client
		topic, event string
		may          bool
	}{
		{ada, "news:1", "new_msg", false},
		{ada, "news:1", "admin_kick", false}, // an earlier rule is for it
		{bob, "news:1", "vote", true},
		{ada, "room:1", "admin_kick", true},
		{bob, "room:1", "admin_kick", false},
		{bob, "room:1", "new_msg", true},
	} {
		ch := test.client.Join(test.topic, nil)
		if push := ch.Push(test.event, object{}); test.may {
			push.AssertReply("ok", object{})
			ch.AssertBroadcast(test.event, object{})
		} else {
			push.AssertReply("error", object{"reason": "unauthorized"})
			ch.RefutePush(test.event, nil)
		}
	}
	channelstest.Connect(t, e, "/socket").Join("room:2", nil).Push("admin_kick", object{}).AssertReply("error", nil)
}

func TestRulesThatMakeNoSense(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	m := instances.New(e.Endpoint, instances.Options{})
	defer m.Close(context.Background())
	m.Register(relay.Type())
	for rule, field := range map[string]string{
		`{}`:                              "/config/publish/0/by is missing: it is who may publish",
		`{"by":"nobody","event":["x"]}`:   "/config/publish/0/event is not a known field; did you mean \"events\"?",
		`{"by":"me"}`:                     "/config/publish/0/by",
		`{"by":"nobody","assign":"x"}`:    "/config/publish/0/by",
		`{"by":"assign","values":["x"]}`:  "/config/publish/0/assign",
		`{"by":"assign","assign":"x"}`:    "/config/publish/0/values",
		`{"by":"nobody","topics":["*a"]}`: "/config/publish/0/topics",
		`{"by":"nobody","events":[""]}`:   "/config/publish/0/events",
	} {
		var invalid fielderr.List
		_, _, err := m.Create(t.Context(), instances.Spec{Type: "relay", Config: json.RawMessage(`{"publish":[` + rule + `]}`)})
		if !errors.As(err, &invalid) || !strings.HasPrefix(invalid[0].Error(), field) {
			t.Errorf("%s: %v, want %s", rule, err, field)
		}
	}
}
