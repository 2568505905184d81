package hooks

import (
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/units"
)

func TestCheck(t *testing.T) {
	ok := Hook{URL: "https://example.com/x", Secret: NewSecret(), On: []string{Join}}
	for name, c := range map[string]struct {
		change func(*Hook)
		want   string
	}{
		"right":                   {func(*Hook) {}, ""},
		"no address":              {func(h *Hook) { h.URL = "" }, "/0/url is missing"},
		"no URL":                  {func(h *Hook) { h.URL = "example.com" }, "/0/url is not an address"},
		"no secret":               {func(h *Hook) { h.Secret = "" }, "/0/secret is missing"},
		"a password":              {func(h *Hook) { h.Secret = "password!" }, "/0/secret is not base64"},
		"hidden":                  {func(h *Hook) { *h = h.Redacted() }, "/0/secret is ***"},
		"nothing":                 {func(h *Hook) { h.On = nil }, "/0/on is missing"},
		"an unknown kind":         {func(h *Hook) { h.On = []string{"leave"} }, "/0/on/0 is \"leave\""},
		"refresh alone":           {func(h *Hook) { h.On = []string{Refresh} }, "/0/on has \"refresh\", but no hook has \"connect\""},
		"a wrong pattern":         {func(h *Hook) { h.Topics = []string{"a*b"} }, "/0/topics/0 is \"a*b\""},
		"a wrong event":           {func(h *Hook) { h.Events = []string{"*x"} }, "/0/events/0"},
		"a wrong header":          {func(h *Hook) { h.Headers = []string{"a b"} }, "/0/headers/0"},
		"too long":                {func(h *Hook) { h.Timeout = units.Duration(time.Minute) }, "/0/timeout is 1m"},
		"too many":                {func(h *Hook) { h.Concurrency = 100_000 }, "/0/concurrency"},
		"neither":                 {func(h *Hook) { h.WhileAway = "maybe" }, "/0/while_away"},
		"a wrong name":            {func(h *Hook) { h.Name = "My Hook" }, "/0/name"},
		"http":                    {func(h *Hook) { h.URL = "http://backend:8000/" }, ""},
		"http, of strangers":      {func(h *Hook) { h.URL, h.PublicOnly = "http://example.com/", true }, "/0/url is http"},
		"private, of strangers":   {func(h *Hook) { h.URL, h.PublicOnly = "https://10.0.0.1/", true }, "/0/url is an address of this machine"},
		"cookies, of strangers":   {func(h *Hook) { h.Headers, h.PublicOnly = []string{"cookie"}, true }, "/0/headers/0"},
		"a file, of strangers":    {func(h *Hook) { h.Secret, h.SecretFile, h.PublicOnly = "", "/etc/passwd", true }, "/0/secret_file"},
		"a secret twice":          {func(h *Hook) { h.SecretFile = "x" }, "/0/secret_file and secret are both set"},
		"fields of whole headers": {func(h *Hook) { h.Headers = []string{"X-Team", "cookie"} }, ""},
	} {
		h := ok
		c.change(&h)
		err := Check([]Hook{h})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	twice := ok
	twice.Name = "hook-1"
	if err := Check([]Hook{ok, twice}); err == nil || !strings.Contains(err.Error(), "/1/name") {
		t.Errorf("a name twice: %v", err)
	}
}

func TestRedacted(t *testing.T) {
	h := Hook{URL: "https://ann:pass@example.com/x?key=abc", Secret: NewSecret(), On: []string{Join}}
	if shown := h.Redacted(); shown.URL != "https://ann:***@example.com/x?***" || shown.Secret != hidden {
		t.Errorf("%+v", shown)
	}
}
