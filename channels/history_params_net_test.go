package channels_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
)

// TestHistoryParams: a client that joins with a wrong param is told what would be right. Numbers count in any
// notation, and a value of "history" that is not an object, which may be the application's own, asks for nothing.
func TestHistoryParams(t *testing.T) {
	s := serve(t, recorded(t, channels.Options{Loops: 1}, history.Rule{Topics: []string{"room:*"}}), channels.SocketOptions{}, relayed())
	s.say(t, "room:1", 0, 5)
	client := s.dial(t)
	const position = "history.after must be a string, the pos of a history_mark, not "
	for _, test := range []struct {
		params string
		first  int // of the messages that come, of which 4 is the last; -1: the client is sent nothing at all
		wrong  string
	}{
		{`true`, -1, ""},
		{`null`, -1, ""},
		{`"last"`, -1, ""},
		{`[{"last":3}]`, -1, ""},
		{`{"last":2.0}`, 3, ""},
		{`{"last":2e0}`, 3, ""},
		{`{"last":1e20}`, 0, ""},
		{`{"last":-1e20}`, 5, ""},
		{`{"since":1.5}`, 0, ""},
		{`{"since":-1e30}`, 0, ""},
		{`{"since":1e30}`, 5, ""},
		{`{"last":"2"}`, 0, "history.last must be a number of messages, not a JSON string"},
		{`{"last":2,"limit":[]}`, 0, "history.limit must be a number of messages, not a JSON array"},
		{`{"since":"2030-01-31"}`, 0, "history.since must be a number of milliseconds since 1970, not a JSON string"},
		{`{"since":1` + strings.Repeat("0", 400) + `}`, 0, "history.since must be a number of milliseconds since 1970, not a JSON number 1" + strings.Repeat("0", 32)},
		{`{"after":"made up"}`, 0, position + "another text"},
		{`{"after":"made up","limit":2}`, 3, position + "another text"},
		{`{"after":5}`, 0, position + "a JSON number"},
		{`{"client":{}}`, 0, "history.client must be a string of at most 128 bytes, not a JSON object"},
		{`{"client":"` + strings.Repeat("x", 129) + `"}`, 5, "history.client must be a string of at most 128 bytes, not one of 129 bytes"},
	} {
		ref := client.join("room:1", `{"x":"history","history":`+test.params+`}`)
		if test.first >= 0 {
			outcome := `"recovered":true`
			if test.wrong != "" && test.first < 5 {
				outcome = `"recovered":false,"reason":"unknown"`
			}
			if test.wrong != "" {
				outcome += fmt.Sprintf(`,"error":%q`, test.wrong)
			}
			client.assertNext(ref, "room:1", "history_state", fmt.Sprintf(`{%s,"replayed":%d}`, outcome, 5-test.first))
			client.assertSaid("room:1", test.first, 5)
			client.mark()
		}
		client.push(ref, "room:1", "phx_leave", "{}")
		for _, want := range []string{"phx_reply", "phx_close"} {
			if m, err := client.read(); err != nil || m.event != want {
				t.Fatalf("joined with %s: received %v, %v; want %s", test.params, m, err, want)
			}
		}
	}
}
