package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestHistoryOfChat: the messages of a chat are read and deleted over the API. A client that
// was away while the server was stopped, and started twice, is sent what it missed, by its
// position as by its last message.
func TestHistoryOfChat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve := func() *server { return start(t, "serve", "--data="+dir, "--drain-interval=1ms") }
	join := func(s *server, params string) *wstest.Client {
		t.Helper()
		c, err := wstest.Dial(s.addr, "/socket/talk/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Drop() })
		c.Timeout = patience
		if err := c.WriteText(`["1","1","room:1","phx_join",{"user":"ada"` + params + `}]`); err != nil {
			t.Fatal(err)
		}
		return c
	}
	page := func(s *server) (p historyPage) {
		t.Helper()
		status, text := s.call(t, "GET", "/api/instances/talk/topics/room:1/history", "")
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		return p
	}
	bodies := func(p historyPage) string {
		var list []string
		for _, m := range p.Messages {
			list = append(list, regexp.MustCompile(`"body":"([^"]*)"`).FindStringSubmatch(string(m.Payload))[1])
		}
		return strings.Join(list, " ")
	}
	s := serve()
	if status, text := s.call(t, "POST", "/api/instances", `{"id":"talk","type":"chat"}`); status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	post := func(s *server, n int) {
		t.Helper()
		body := fmt.Sprintf(`{"name":"post","data":{"room":"1","user":"bot","body":"m%d"}}`, n)
		if status, text := s.call(t, "POST", "/api/instances/talk/signal", body); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	post(s, 0)
	position := page(s).Next
	post(s, 1)
	post(s, 2)
	for range 2 {
		s.stop()
		s = serve()
	}
	if p := page(s); bodies(p) != "m0 m1 m2" {
		t.Errorf("after two restarts: %+v", p)
	}
	c := join(s, `,"history":{"after":"`+position+`"}`)
	expect(t, c, `"history_state",{"recovered":true,"replayed":2}]`)
	expect(t, c, `"body":"m1"`)
	expect(t, c, `"body":"m2"`)

	id := page(s).Messages[1].ID
	if status, text := s.call(t, "DELETE", "/api/instances/talk/topics/room:1/history?message="+id, ""); status != 200 || !strings.Contains(text, `"deleted":1`) {
		t.Errorf("%d %s", status, text)
	}
	if p := page(s); bodies(p) != "m0 m2" {
		t.Errorf("after one was deleted: %+v", p)
	}
	s.stop()
	s = serve()
	expect(t, join(s, ""), `"backlog",{"messages":[`+string(page(s).Messages[0].Payload)+`,`+string(page(s).Messages[1].Payload)+`],"complete":true}`)
	if p := page(s); bodies(p) != "m0 m2" {
		t.Errorf("after one was deleted, and a restart: %+v", p)
	}
}
