package frames

import (
	"encoding/json"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// A message arrives as it was, whatever is in it; what is not UTF-8 is replaced, byte by
// byte, so that one bad message does not make an answer unreadable.
func FuzzLongPollString(f *testing.F) {
	f.Add(`["1","2","t","e",{"a":"\u0000"}]`)
	f.Add("\x7f\u2028</script>\xf0\x9f\x98")
	f.Add("\x00\x1f\n\\ä😀\xff\xc3z")
	f.Fuzz(func(t *testing.T, message string) {
		frame := netloop.NewFrame(len(message))
		frame = longPoll{}.Finish(frame, append(frame.Bytes(), message...), false)
		defer frame.Release()
		var got string
		if err := json.Unmarshal(frame.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v", frame.Bytes(), err)
		}
		if want := string([]rune(message)); got != want {
			t.Errorf("%+q, want %+q", got, want)
		}
	})
}
