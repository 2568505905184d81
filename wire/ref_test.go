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
	ref := Ref(`"1"`)
	clone := ref.Clone()
	ref[1] = '2'
	if string(clone) != `"1"` {
		t.Errorf("the clone became %s", clone)
	}
}
