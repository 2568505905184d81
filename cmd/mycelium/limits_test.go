package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// createLimited creates a relay over HTTP, with limits in JSON.
func (s *server) createLimited(t *testing.T, id, limits string) {
	t.Helper()
	body := fmt.Sprintf(`{"id":%q,"type":"relay","config":{"presence_off":["*"]},"limits":%s}`, id, limits)
	if status, answer := s.call(t, "POST", "/api/instances", body); status != http.StatusCreated {
		t.Fatalf("%s: %d %s", body, status, answer)
	}
}

// counted asks over HTTP what an instance has counted.
func (s *server) counted(t *testing.T, id string) (stats instances.Stats) {
	t.Helper()
	_, answer := s.call(t, "GET", "/api/instances/"+id+"/stats", "")
	if err := json.Unmarshal([]byte(answer), &stats); err != nil {
		t.Fatal(err)
	}
	return stats
}

// limited is a client of an instance that goes above its limits.
type limited struct {
	t      *testing.T
	server *server
	id     string
}

func (l *limited) dial() (*wstest.Client, error) {
	c, err := wstest.Dial(l.server.addr, "/socket/"+l.id+"/websocket?vsn=2.0.0", nil)
	if err == nil {
		l.t.Cleanup(func() { _ = c.Drop() })
	}
	return c, err
}

func (l *limited) mustDial() *wstest.Client {
	l.t.Helper()
	c, err := l.dial()
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// connect makes so many connections and returns how one was refused.
func (l *limited) connect(n int) (seen string) {
	for range n {
		_, err := l.dial()
		var status *wstest.StatusError
		if errors.As(err, &status) {
			if n := l.server.counted(l.t, l.id).Refused; n == 0 || status.Header.Get("Retry-After") == "" {
				l.t.Errorf("%d refusals counted; Retry-After: %q", n, status.Header.Get("Retry-After"))
			}
			return fmt.Sprint(status.Status)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return ""
}

// burst sends messages at once, the first of which join the rooms 1 and on, and
// returns what one of them was refused for. All are answered.
func (l *limited) burst(joins, pushes, size int) (seen string) {
	l.t.Helper()
	c := l.mustDial()
	var all []byte
	for i := range joins {
		all = wstest.AppendFrame(all, true, 1, fmt.Appendf(nil, `["j%d","j%d","room:%d","phx_join",{}]`, i, i, i))
	}
	for i := range pushes {
		all = wstest.AppendFrame(all, true, 1, fmt.Appendf(nil, `["j0","p%d","room:0","say",{"x":%q}]`, i, strings.Repeat("x", size)))
	}
	if err := c.WriteRaw(all); err != nil {
		l.t.Fatal(err)
	}
	for answers := 0; answers < joins+pushes; {
		_, text, err := c.ReadMessage()
		var closed *wstest.CloseError
		if errors.As(err, &closed) {
			return fmt.Sprint(closed.Code)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		var m []json.RawMessage
		var reply struct {
			Status   string
			Response struct{ Reason string }
		}
		if err := json.Unmarshal(text, &m); err != nil || len(m) != 5 || json.Unmarshal(m[4], &reply) != nil {
			l.t.Fatalf("%s: %v", text, err)
		}
		if string(m[3]) == `"phx_reply"` {
			answers++
			if reply.Status == "error" && seen == "" {
				seen = reply.Response.Reason
			}
		}
	}
	return seen
}

// twice is what two clients of the same instance see.
func (l *limited) twice(joins, pushes, size int) string {
	return l.burst(joins, pushes, size) + l.burst(joins, pushes, size)
}

// beat sends heartbeats and returns whether that was too much.
func (l *limited) beat(n int) (seen string) {
	l.t.Helper()
	c := l.mustDial()
	var all []byte
	for range n {
		all = wstest.AppendFrame(all, true, 1, []byte(`[null,"h","phoenix","heartbeat",{}]`))
	}
	if err := c.WriteRaw(all); err != nil {
		l.t.Fatal(err)
	}
	for range n {
		expect(l.t, c, `"status":"ok"`)
	}
	if l.server.counted(l.t, l.id).HeldUp > 0 {
		return "held up"
	}
	return ""
}

// TestInstanceLimits creates an instance with each limit over HTTP and goes
// above it; in an instance without it the same is nothing.
func TestInstanceLimits(t *testing.T) {
	s := start(t, "serve")
	s.createLimited(t, "free", "{}")
	tests := map[string]struct {
		value  int
		exceed func(l *limited) (seen string)
		want   string
	}{
		"max_connections":             {2, func(l *limited) string { return l.connect(3) }, "503"},
		"max_connections_per_address": {2, func(l *limited) string { return l.connect(3) }, "503"},
		"handshakes_per_second":       {3, func(l *limited) string { return l.connect(30) }, "503"},
		"max_channels":                {2, func(l *limited) string { return l.burst(3, 0, 0) }, "too many channels joined"},
		"max_message":                 {2000, func(l *limited) string { return l.burst(1, 1, 3000) }, "1009"},
		"joins_per_second":            {3, func(l *limited) string { return l.burst(9, 0, 0) }, "too many joins"},
		"messages_per_second":         {4, func(l *limited) string { return l.burst(1, 12, 1) }, "too many messages"},
		"bytes_per_second":            {500, func(l *limited) string { return l.burst(1, 9, 200) }, "too many bytes"},
		"heartbeats_per_second":       {5, func(l *limited) string { return l.beat(20) }, "held up"},
		"total_joins_per_second":      {5, func(l *limited) string { return l.twice(5, 0, 0) }, "too many joins"},
		"total_messages_per_second":   {8, func(l *limited) string { return l.twice(1, 8, 1) }, "too many messages"},
		"total_bytes_per_second":      {4200, func(l *limited) string { return l.twice(1, 4, 1000) }, "too many bytes"},
	}
	fields := reflect.TypeFor[instances.Limits]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		test, ok := tests[name]
		if !ok {
			t.Errorf("limit %q has no test", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(name, "_", "-")
			s.createLimited(t, id, fmt.Sprintf(`{%q:%d}`, name, test.value))
			for of, want := range map[string]string{id: test.want, "free": ""} {
				if seen := test.exceed(&limited{t, s, of}); seen != want {
					t.Errorf("in %q: %q, want %q", of, seen, want)
				}
			}
			if stats := s.counted(t, id); strings.HasPrefix(test.want, "too many") && name != "max_channels" && stats.RateLimited == 0 {
				t.Error("not counted as rate_limited")
			}
		})
	}
}
