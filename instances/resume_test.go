package instances_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// seats is a configuration whose schema may become stricter.
type seats struct {
	Seats int `json:"seats,omitempty" jsonschema:"maximum=4"`
}

// TestResumeOfWhatIsNoLongerAccepted: an instance whose type or configuration this version of
// the program does not accept is not started by Resume either, and says why.
func TestResumeOfWhatIsNoLongerAccepted(t *testing.T) {
	store := new(instances.Memory)
	for id, record := range map[string]string{
		"of-a-lost-type":  `{"spec":{"id":"of-a-lost-type","type":"lost"},"created":"2026-01-02T03:04:05Z"}`,
		"drained":         `{"spec":{"id":"drained","type":"lost"},"created":"2026-01-02T03:04:05Z","stopped":true}`,
		"with-many-seats": `{"spec":{"id":"with-many-seats","type":"table","config":{"seats":8}},"created":"2026-01-02T03:04:05Z"}`,
	} {
		if _, err := store.Put(t.Context(), "spec."+id, []byte(record), 0); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, instances.Options{Store: store})
	s.Register(instances.Define("table", "Has seats.", func(*instances.Instance, seats) (instances.Logic, error) {
		return instances.Channels{channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, nil
		})}, nil
	}))
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, reason := range map[string]string{
		"of-a-lost-type": "/type \"lost\" is not one of this server's types", "drained": "/type \"lost\" is not one of this server's types", "with-many-seats": "/config/seats",
	} {
		i, err := s.Resume(t.Context(), id)
		if err != nil || i.State != instances.Failed || !strings.Contains(i.Reason, reason) {
			t.Errorf("%s: %s, %q, %v", id, i.State, i.Reason, err)
		}
		if stats, err := s.Stats(id); err != nil || stats.Crashes != 0 {
			t.Errorf("%s has crashed %d times: %v", id, stats.Crashes, err)
		}
	}
	i, err := s.Update(t.Context(), "with-many-seats", instances.AnyRevision, func(spec *instances.Spec) error {
		spec.Config = json.RawMessage(`{"seats":2}`)
		return nil
	})
	if err != nil || i.State != instances.Running {
		t.Errorf("mended: %+v, %v", i, err)
	}
}
