package wire

import (
	"errors"
	"testing"
)

func TestPhoenix(t *testing.T) {
	accepted := map[string]Serializer{
		"1.0.0": V1{}, "1.0.5": V1{}, "1.0.120": V1{}, "1.0.0+b": V1{},
		"2.0.0": V2{}, "2.0.9": V2{}, "2.0.0+build.5-x": V2{},
	}
	for vsn, want := range accepted {
		if got, err := Phoenix(Offer{Version: vsn, HasVersion: true}); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", vsn, got, err, want)
		}
	}
	refused := []string{
		"", " ", "1", "2", "2.0", "2.0.", "2.1.0", "3.0.0", "0.0.0", "2.0.0 ", " 2.0.0", "2.0.00", "2.0.01", "02.0.0", "2.00.0",
		"2.0.0-rc", "2.0.0-rc.1", "2.0.1-rc+b", "2.0.0+", "2.0.0+a..b", "2.0.0+a+b", "2.0.0+é", "2.0.x", "2.0.0.0", "v2.0.0", "garbage",
		"2.0.-1", "2.0.+1", "1.0.٣",
	}
	for _, vsn := range refused {
		if got, err := Phoenix(Offer{Version: vsn, HasVersion: true}); !errors.Is(err, ErrVersion) {
			t.Errorf("%q: %v, %v; want it refused", vsn, got, err)
		}
	}
	if got, err := Phoenix(Offer{}); err != nil || got != Serializer(V1{}) {
		t.Errorf("absent: %v, %v; want 1.0.0", got, err)
	}
}

// A serializer's own name is a vsn that picks it.
func TestVersionNames(t *testing.T) {
	for _, s := range both {
		if got, err := Phoenix(Offer{Version: s.Version(), HasVersion: true}); err != nil || got != s {
			t.Errorf("%s picks %T: %v", s.Version(), got, err)
		}
	}
}

// The head, a payload and the tail are what AppendPush writes.
func TestAppendHead(t *testing.T) {
	for _, s := range both {
		for _, topic := range []string{"room:1", "a\"b\n"} {
			for _, joinRef := range []Ref{nil, Ref(`"7"`)} {
				want, _, err := s.AppendPush([]byte("."), joinRef, topic, "e", text(`{"a":1}`))
				head, tail := s.(Enveloper).AppendHead([]byte("."), joinRef, topic, "e")
				if got := string(head) + `{"a":1}` + tail; err != nil || got != string(want) {
					t.Errorf("%s: %s, want %s (%v)", s.Version(), got, want, err)
				}
			}
		}
	}
}
