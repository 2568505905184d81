package nearest

import "testing"

func TestOf(t *testing.T) {
	names := []string{"connections", "topics", "rate"}
	for name, want := range map[string]string{
		"conections": "connections", "cnonections": "connections", "topic": "topics", "rat": "rate",
		"connections": "connections", "window": "", "": "",
	} {
		if got := Of(name, names); got != want {
			t.Errorf("Of(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"rate", "rate", 0}, {"rate", "rote", 1}, {"rate", "arte", 1},
		{"listened", "listen", 2}, {"kitten", "sitting", 3},
	}
	for _, test := range tests {
		if got := Distance(test.a, test.b); got != test.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestUnknownField(t *testing.T) {
	known := []string{"labels", "limits", "idle_ttl"}
	for name, want := range map[string]string{
		"lables":  `is not a known field; did you mean "labels"?`,
		"LABELS":  `is not a known field; did you mean "labels"?`,
		"idleTTL": `is not a known field; did you mean "idle_ttl"?`,
		"auth":    `is not a known field; the known fields are idle_ttl, labels, limits`,
	} {
		if got := UnknownField(name, known); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := UnknownField("a", nil); got != "is not a known field; no fields are allowed" {
		t.Error(got)
	}
}
