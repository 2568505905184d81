package chat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/instances/internal/typetest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestManyRoomsAtOnce: a client on a slow line joins all its rooms at once, as after a
// restart, and is sent the backlog of each.
func TestManyRoomsAtOnce(t *testing.T) {
	const rooms, messages = 24, 4 // 5.8 MB
	limits := channels.Limits{OutboundBytes: 1 << 20, SendBuffer: 64 << 10}
	s := &server{typetest.StartLimited(t, limits, chat.Type(), nil, `{"max_body":65536}`)}
	addr, err := s.Endpoint.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 60_000)
	for i := range rooms {
		room := s.join(fmt.Sprint(i), object{"user": "ada"})
		for range messages {
			room.Push("new_msg", object{"body": body}).AssertReply("ok", nil)
		}
	}
	client, err := wstest.Dial(addr.String(), "/socket/"+typetest.ID+"/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Drop()
	client.Timeout = time.Minute
	for i := range rooms {
		if err := client.WriteText(fmt.Sprintf(`["%d","%d","room:%d","phx_join",{"user":"bob"}]`, i, i, i)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond) // the line is slow; without that the test shows less
	for got := 0; got < rooms; {
		_, text, err := client.ReadMessage()
		if err != nil {
			t.Fatalf("a client that reads was cut off after %d of %d backlogs: %v", got, rooms, err)
		}
		if strings.Contains(string(text[:min(len(text), 100)]), `"backlog"`) {
			got++
			if n := strings.Count(string(text), `"body":"xxx`); n != messages {
				t.Errorf("a backlog of %d messages", n)
			}
		}
	}
}
