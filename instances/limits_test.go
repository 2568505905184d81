package instances_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

// limitNames are the limits of a spec, by their names in JSON.
func limitNames() []string {
	var names []string
	for field := range reflect.TypeFor[instances.Limits]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// specWith is a spec with one limit.
func specWith(t testing.TB, name string, value int) instances.Spec {
	t.Helper()
	text, err := json.Marshal(map[string]any{"id": "a", "type": "counter", "limits": map[string]int{name: value}})
	if err != nil {
		t.Fatal(err)
	}
	var spec instances.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// bounded are limits of a server: 5000 each of those that a spec may have.
func bounded() (limits channels.Limits) {
	for field := range reflect.TypeFor[instances.Limits]().Fields() {
		reflect.ValueOf(&limits).Elem().FieldByName(field.Name).SetInt(5000)
	}
	return limits
}

// TestLimitsOfTheServer: no limit of a spec is above the server's.
func TestLimitsOfTheServer(t *testing.T) {
	s := start(t, instances.Options{Limits: bounded()})
	refused := func(what string, err error, name string) {
		t.Helper()
		var invalid fielderr.List
		if !errors.As(err, &invalid) || len(invalid) != 1 || invalid[0].Error() != "/limits/"+name+" is 5001: this server allows at most 5000" {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range limitNames() {
		_, _, err := s.Create(t.Context(), specWith(t, name, 5001))
		refused("create", err, name)
		refused("check", s.Check(specWith(t, name, 5001)), name)
		if err := s.CheckWithin(channels.Limits{}, specWith(t, name, 5001)); err != nil {
			t.Errorf("%s: on a server without limits: %v", name, err)
		}
		s.create(t, specWith(t, name, 5000))
		_, err = s.Update(t.Context(), "a", instances.AnyRevision, set(func(spec *instances.Spec) { spec.Limits = specWith(t, name, 5001).Limits }))
		refused("update", err, name)
		if err := s.Delete(t.Context(), "a", instances.AnyRevision); err != nil {
			t.Fatal(err)
		}
	}
	// Where the manager has no limit, its host's counts: its messages have one by default.
	s = start(t, instances.Options{})
	_, _, err := s.Create(t.Context(), specWith(t, "max_message", 1<<40))
	var invalid fielderr.List
	if !errors.As(err, &invalid) || invalid[0].Field != "/limits/max_message" {
		t.Errorf("1 TiB: %v", err)
	}
	s.create(t, specWith(t, "joins_per_second", 10_000_000)) // unlimited there
}

// TestLimitsOfTheStore: an instance from when the server allowed more is served
// with what it allows now, and the log says so; it can still be changed.
func TestLimitsOfTheStore(t *testing.T) {
	store := new(instances.Memory)
	before := start(t, instances.Options{Store: store, Limits: channels.Limits{MaxMessage: 50_000}})
	before.create(t, specWith(t, "max_message", 50_000))
	before.close(t)()

	log := new(logtest.Buffer)
	logger := zerolog.New(log)
	s := start(t, instances.Options{Store: store, Limits: channels.Limits{MaxMessage: 2000}, Logger: &logger})
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	large := map[string]string{"x": strings.Repeat("x", 3000)}
	channelstest.Connect(t, s.endpoint, "/socket/a").Join("counter", nil).Push("count", large)
	client := channelstest.Connect(t, s.endpoint, "/socket/a")
	client.Join("counter", nil).Push("count", large)
	client.AssertClosed(1009)
	if want := "/limits/max_message is 50000: this server allows at most 2000"; strings.Count(log.String(), want) != 1 {
		t.Errorf("the log says %s", log)
	}
	if _, err := s.Update(t.Context(), "a", instances.AnyRevision, set(func(spec *instances.Spec) { spec.Labels = map[string]string{"a": "b"} })); err != nil {
		t.Errorf("another change: %v", err)
	}
	// A reload raises and lowers it.
	s.endpoint.SetLimits(channels.Limits{MaxMessage: 60_000})
	if err := s.Reconfigure(t.Context(), channels.Limits{MaxMessage: 60_000}); err != nil {
		t.Fatal(err)
	}
	channelstest.Connect(t, s.endpoint, "/socket/a").Join("counter", nil).Push("count", large).AssertReply("ok", nil)
	if err := s.Reconfigure(t.Context(), channels.Limits{MaxMessage: 2000}); err != nil {
		t.Fatal(err)
	}
	client = channelstest.Connect(t, s.endpoint, "/socket/a")
	client.Join("counter", nil).Push("count", large)
	client.AssertClosed(1009)
}

// TestRecordOfAnotherID: a record that was edited is not taken for an instance.
func TestRecordOfAnotherID(t *testing.T) {
	store := new(instances.Memory)
	before := start(t, instances.Options{Store: store})
	before.create(t, instances.Spec{ID: "a", Type: "counter"})
	before.close(t)()
	e, err := store.Get(t.Context(), "spec.a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "spec.a", bytes.Replace(e.Value, []byte(`"id":"a"`), []byte(`"id":"b"`), 1), e.Revision); err != nil {
		t.Fatal(err)
	}
	s := start(t, instances.Options{Store: store})
	if err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), `record of "a" has the id "b"`) || !strings.Contains(err.Error(), "restore the store from a copy") {
		t.Errorf("%v", err)
	}
}
