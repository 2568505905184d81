package instances_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// TestInvalidSpecs: each wrong field is named, all of them at once.
func TestInvalidSpecs(t *testing.T) {
	s := start(t, instances.Options{})
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprint("key", i)] = ""
	}
	for name, c := range map[string]struct {
		spec   instances.Spec
		fields []string
	}{
		"id":            {instances.Spec{ID: "a b", Type: "counter"}, []string{"/id"}},
		"a long id":     {instances.Spec{ID: strings.Repeat("a", 65), Type: "counter"}, []string{"/id"}},
		"a path's id":   {instances.Spec{ID: "websocket", Type: "counter"}, []string{"/id"}},
		"no type":       {instances.Spec{ID: "a"}, []string{"/type"}},
		"unknown type":  {instances.Spec{ID: "a", Type: "chess"}, []string{"/type"}},
		"config":        {instances.Spec{Type: "counter", Config: json.RawMessage(`{"step":0}`)}, []string{"/config/step"}},
		"config's type": {instances.Spec{Type: "counter", Config: json.RawMessage(`{"step":"two"}`)}, []string{"/config/step"}},
		"unknown field": {instances.Spec{Type: "counter", Config: json.RawMessage(`{"stepp":1}`)}, []string{"/config/stepp"}},
		"duration":      {instances.Spec{Type: "counter", Config: json.RawMessage(`{"every":"soon"}`)}, []string{"/config/every"}},
		"no object":     {instances.Spec{Type: "counter", Config: json.RawMessage(`[]`)}, []string{"/config"}},
		"no JSON":       {instances.Spec{Type: "counter", Config: json.RawMessage(`{`)}, []string{"/config"}},
		"large config":  {instances.Spec{Type: "counter", Config: json.RawMessage(`{"x":"` + strings.Repeat("x", 1<<16) + `"}`)}, []string{"/config", "/config/x"}},
		"limits":        {instances.Spec{Type: "counter", Limits: instances.Limits{MaxConnections: -1}}, []string{"/limits/max_connections"}},
		"idle time":     {instances.Spec{Type: "counter", IdleTTL: -1}, []string{"/idle_ttl"}},
		"label":         {instances.Spec{Type: "counter", Labels: map[string]string{"a b": ""}}, []string{"/labels/a b"}},
		"pointer":       {instances.Spec{Type: "counter", Labels: map[string]string{"~/ ": ""}}, []string{"/labels/~0~1 "}},
		"long label":    {instances.Spec{Type: "counter", Labels: map[string]string{"a": strings.Repeat("x", 256)}}, []string{"/labels/a"}},
		"many labels":   {instances.Spec{Type: "counter", Labels: many}, []string{"/labels"}},
		"auth":          {instances.Spec{Type: "counter", Auth: json.RawMessage(`{}`)}, []string{"/auth"}},
		"several":       {instances.Spec{ID: "?", Type: "counter", Config: json.RawMessage(`{"step":101}`)}, []string{"/config/step", "/id"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := s.Create(t.Context(), c.spec)
			var invalid fielderr.List
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v", err)
			}
			var fields []string
			for _, f := range invalid {
				fields = append(fields, f.Field)
				if f.Reason == "" {
					t.Errorf("%s has no reason", f.Field)
				}
			}
			slices.Sort(fields)
			if !slices.Equal(fields, c.fields) {
				t.Errorf("wrong are %q (%v), want %q", fields, err, c.fields)
			}
		})
	}
	if page, _ := s.List(instances.Filter{}); len(page) != 0 {
		t.Errorf("something was made: %+v", page)
	}
}

// TestSchema is what a type's users are shown.
func TestSchema(t *testing.T) {
	s := start(t, instances.Options{})
	types := s.Types()
	if len(types) != 1 || types[0].Name() != "counter" || types[0].About() != "Counts." {
		t.Fatalf("%+v", types)
	}
	var schema struct {
		Type       string
		Properties map[string]struct {
			Type    string
			Minimum int
			Maximum int
		}
		AdditionalProperties *bool
	}
	if err := json.Unmarshal(types[0].Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	step := schema.Properties["step"]
	if schema.Type != "object" || step.Type != "integer" || step.Minimum != 1 || step.Maximum != 100 ||
		schema.Properties["every"].Type != "string" || schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Errorf("%s", types[0].Schema())
	}
}

// TestUnitsInConfig: the configuration of a type may have quantities with units.
func TestUnitsInConfig(t *testing.T) {
	type config struct {
		Room units.Bytes    `json:"room,omitempty"`
		Wait units.Duration `json:"wait,omitempty"`
	}
	s := start(t, instances.Options{})
	var got config
	s.Register(instances.Define("roomy", "Has room.", func(_ *instances.Instance, c config) (instances.Logic, error) {
		got = c
		return idle{}, nil
	}))
	for text, want := range map[string]config{
		`{"room":65536,"wait":"90s"}`: {64 << 10, units.Duration(90 * time.Second)},
		`{"room":"64KiB"}`:            {64 << 10, 0},
		`{}`:                          {},
	} {
		if err := s.Check(instances.Spec{Type: "roomy", Config: json.RawMessage(text)}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`{"room":"lots"}`: `/config/room "lots" does not match the pattern ` + units.BytesPattern,
		`{"room":-1}`:     "/config/room minimum: got -1, want 0",
		`{"room":true}`:   "/config/room got boolean, want integer or string",
		`{"wait":90}`:     "/config/wait got number, want string",
	} {
		if err := s.Check(instances.Spec{Type: "roomy", Config: json.RawMessage(text)}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestEqualSpecs: how JSON is written makes no other spec.
func TestEqualSpecs(t *testing.T) {
	s := start(t, instances.Options{})
	first := s.create(t, instances.Spec{ID: "a", Type: "counter", Config: json.RawMessage(`{"step":2,"every":"1s"}`), Labels: map[string]string{}})
	for _, config := range []string{`{"every":"1s","step":2}`, " {\n\"step\": 2, \"every\" : \"1s\"}"} {
		again, created, err := s.Create(t.Context(), instances.Spec{ID: "a", Type: "counter", Config: json.RawMessage(config)})
		if err != nil || created || again.Revision != first.Revision {
			t.Errorf("%s: %+v, created %v, %v", config, again, created, err)
		}
	}
	_, _, err := s.Create(t.Context(), instances.Spec{ID: "a", Type: "counter", Config: json.RawMessage(`{"step":3}`), IdleTTL: 5})
	var conflict *instances.ConflictError
	if !errors.As(err, &conflict) || conflict.ID != "a" || !slices.Equal(conflict.Fields, []string{"config", "idle_ttl"}) {
		t.Errorf("another spec: %v", err)
	}
	made := map[string]bool{}
	for range 3 {
		i := s.create(t, instances.Spec{Type: "counter"})
		if made[i.ID] || len(i.ID) != 16 {
			t.Errorf("made up id %q", i.ID)
		}
		made[i.ID] = true
	}
}
