package instances_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
)

// TestCheck: it refuses what Create would, and nothing comes of it.
func TestCheck(t *testing.T) {
	s := start(t, instances.Options{})
	s.Register(instances.Define("fussy", "Refuses 7.", func(in *instances.Instance, c config) (instances.Logic, error) {
		switch c.Step {
		case 7:
			return nil, instances.Invalid("/step", "must not be 7")
		case 8:
			panic("8")
		}
		in.Presence()
		return idle{}, nil
	}))
	for _, c := range []struct{ kind, config, want string }{
		{"fussy", `{"step":1}`, ""},
		{"fussy", `{"step":101}`, "/config/step "},
		{"fussy", `{"step":7}`, "/config/step must not be 7"},
		{"fussy", `{"step":8}`, "the type's build function panicked: 8"},
		{"fuzzy", ``, `/type "fuzzy" is not one of this server's types`},
	} {
		spec := instances.Spec{ID: "a", Type: c.kind, Config: json.RawMessage(c.config)}
		err := s.Check(spec)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %s: %v, want %q", c.kind, c.config, err, c.want)
		}
	}
	if _, err := s.Get("a"); !errors.Is(err, instances.ErrNotFound) {
		t.Errorf("checking has made an instance: %v", err)
	}
	s.create(t, instances.Spec{ID: "a", Type: "fussy"})
	if err := s.Check(instances.Spec{ID: "a", Type: "counter"}); err != nil {
		t.Errorf("another spec for an id that is taken: %v", err)
	}
}
