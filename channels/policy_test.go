package channels_test

import (
	"context"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestUnknownPolicies: a number that is not one of the constants is an error.
func TestUnknownPolicies(t *testing.T) {
	for field, o := range map[string]channels.Options{
		"Options.SlowReceiver is 3": {SlowReceiver: channels.DropNewest + 1},
		"Options.IOUring is 3":      {IOUring: channels.IOUringOn + 1},
	} {
		e, err := channels.NewEndpoint(o)
		if err == nil {
			e.Shutdown(context.Background())
			t.Errorf("%s: no error", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want it to say %q", err, field)
		}
	}
}
