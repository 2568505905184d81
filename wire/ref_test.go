package wire

import "testing"

func TestRefEqual(t *testing.T) {
	tests := []struct {
		a, b Ref
		want bool
	}{
		{nil, nil, true},
		{nil, Ref(`""`), false},
		{Ref(`"1"`), Ref(`"1"`), true},
		{Ref(`"1"`), Ref(`"2"`), false},
		{Ref(`"1"`), Ref("1"), false},
		{Ref("1"), Ref("1"), true},
		{Ref("1"), Ref("1.0"), false},
		{Ref(`"\u0031"`), Ref(`"1"`), true},
		{Ref(`"\/"`), Ref(`"/"`), true},
		{Ref(`"\ud83d\udca7"`), Ref(`"💧"`), true},
		{Ref(`"\u0031"`), Ref(`"2"`), false},
		{Ref(`{"a":1}`), Ref(`{"a":1}`), true},
		{Ref(`["\u0031"]`), Ref(`["1"]`), false},
		{Ref("true"), Ref("false"), false},
	}
	for _, test := range tests {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%s = %s: %t, want %t", test.a, test.b, got, test.want)
		}
		if got := test.b.Equal(test.a); got != test.want {
			t.Errorf("%s = %s: %t, want %t", test.b, test.a, got, test.want)
		}
	}
}

func TestRefClone(t *testing.T) {
	if Ref(nil).Clone() != nil {
		t.Error("the clone of null is not null")
	}
	for _, text := range []string{`""`, `"0"`, `"1"`, `"9"`, `"10"`, `"00"`, `"01"`, `"255"`, `"256"`, `"999"`, `"1000"`, `"a"`, `"1a"`, `"-1"`, `"+1"`, `1`, `12345`, `"1\"`, `[1]`} {
		ref := Ref(text)
		clone := ref.Clone()
		clear(ref)
		if string(clone) != text {
			t.Errorf("the clone of %s became %s", text, clone)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Ref(`"42"`).Clone() }); n != 0 {
		t.Errorf("the clone of a counted ref costs %v allocations", n)
	}
}
