package wire

import (
	"errors"
	"testing"
)

func TestParseVersion(t *testing.T) {
	accepted := map[string]Version{
		"1.0.0": V1, "1.0.5": V1, "1.0.120": V1, "1.0.0+b": V1,
		"2.0.0": V2, "2.0.9": V2, "2.0.0+build.5-x": V2,
	}
	for vsn, want := range accepted {
		if got, err := ParseVersion(vsn, true); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", vsn, got, err, want)
		}
	}
	refused := []string{
		"", " ", "1", "2", "2.0", "2.0.", "2.1.0", "3.0.0", "0.0.0", "2.0.0 ", " 2.0.0", "2.0.00", "2.0.01", "02.0.0", "2.00.0",
		"2.0.0-rc", "2.0.0-rc.1", "2.0.1-rc+b", "2.0.0+", "2.0.0+a..b", "2.0.0+a+b", "2.0.0+é", "2.0.x", "2.0.0.0", "v2.0.0", "garbage",
		"2.0.-1", "2.0.+1", "1.0.٣",
	}
	for _, vsn := range refused {
		if got, err := ParseVersion(vsn, true); !errors.Is(err, ErrVersion) {
			t.Errorf("%q: %v, %v; want it refused", vsn, got, err)
		}
	}
	if got, err := ParseVersion("", false); err != nil || got != V1 {
		t.Errorf("absent: %v, %v; want 1.0.0", got, err)
	}
}

func TestFor(t *testing.T) {
	for _, v := range []Version{V1, V2} {
		if got := For(v).Version(); got != v {
			t.Errorf("For(%v) speaks %v", v, got)
		}
		if parsed, err := ParseVersion(v.String(), true); err != nil || parsed != v {
			t.Errorf("%v does not parse: %v, %v", v, parsed, err)
		}
	}
}
