package channels_test

import (
	"reflect"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestStatsAdd: every counter is part of the sums.
func TestStatsAdd(t *testing.T) {
	var one channels.Stats
	fillWith(reflect.ValueOf(&one).Elem(), 3)
	sum := one
	sum.Add(one)
	want := one
	fillWith(reflect.ValueOf(&want).Elem(), 6)
	want.Network = one.Network // of the loops, which are shared
	want.MailboxHigh = 3       // the larger of the two
	if sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
}

func fillWith(v reflect.Value, n int64) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct {
			fillWith(f, n)
		} else {
			f.SetInt(n)
		}
	}
}
