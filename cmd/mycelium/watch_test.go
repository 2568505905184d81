package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// get returns an answer's status and text.
func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return do(t, r)
}

func TestWatched(t *testing.T) {
	s := start(t, "serve")
	base := "http://" + s.addr
	c := dial(t, s, "&user=zebedee")
	tryJoin(t, c, 1, "room:1")
	status, text := get(t, base+"/metrics", "Authorization", "Bearer "+s.key(t))
	for _, line := range []string{
		`mycelium_sockets{transport="websocket",type="relay"} 1`, `mycelium_channels{type="relay"} 1`,
		`mycelium_messages_received_total{type="relay"} 1`, `mycelium_presence_keys{type="relay"} 1`,
		`mycelium_instances{state="running",type="relay"} 1`, "mycelium_ready 1", "go_goroutines ", "process_open_fds ",
	} {
		if status != http.StatusOK || !strings.Contains(text, "\n"+line) {
			t.Errorf("%d, no line %s in\n%s", status, line, text)
		}
	}
	if strings.Contains(text, "room:1") || strings.Contains(text, "zebedee") {
		t.Error("a metric names a topic or a user")
	}
	for _, header := range [][]string{{}, {"X-Forwarded-For", "127.0.0.1"}, {"Authorization", "Bearer mk_WRONG"}, {"Origin", "http://evil.example"}} {
		if status, _ := get(t, base+"/metrics", header...); status != http.StatusUnauthorized {
			t.Errorf("with %q: %d", header, status)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 200, "/healthz/x": 404} {
		if status, _ := get(t, base+path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// A server that is full is not ready, and can be asked on a port of its own.
func TestNotReadyWhenFull(t *testing.T) {
	s := start(t, "serve", "--limits-max-connections=3", "--metrics-listen=127.0.0.1:0")
	watch := s.watchAddr(t)
	for i, want := range []string{"ok\n", "ok\n", "full\n"} {
		tryJoin(t, dial(t, s, ""), 1, "room:1")
		if _, text := get(t, watch+"/readyz"); text != want {
			t.Errorf("%d of 3 connections: %q, want %q", i+1, text, want)
		}
	}
}

// watchAddr is the address of the metrics' own port.
func (s *server) watchAddr(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var entry struct{ Addr, Message string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "metrics" {
			return "http://" + entry.Addr
		}
	}
	t.Fatalf("no port for metrics:\n%s", s.log)
	return ""
}

// While the server drains, its own port for metrics says so.
func TestWatchedWhileItDrains(t *testing.T) {
	t.Parallel()
	s := start(t, "serve", "--metrics-listen=127.0.0.1:0", "--drain-delay=4s", "--drain-interval=1ms", "--metrics-allow=", "--metrics-token=0123456789abcdef")
	watch := s.watchAddr(t)
	if status, _ := get(t, "http://"+s.addr+"/metrics"); status != http.StatusNotFound {
		t.Errorf("on the main port: %d", status)
	}
	if status, _ := get(t, watch+"/metrics"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	if status, text := get(t, watch+"/metrics", "Authorization", "Bearer 0123456789abcdef"); status != http.StatusOK || !strings.Contains(text, "mycelium_ready 1") {
		t.Errorf("with the token: %d", status)
	}
	if status, _ := get(t, watch+"/readyz"); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	ended := make(chan int, 1)
	go func() { ended <- s.stop() }()
	for status := http.StatusOK; status != http.StatusServiceUnavailable; time.Sleep(time.Millisecond) {
		status, _ = get(t, watch+"/readyz")
	}
	c := dial(t, s, "") // served all the same during the delay
	tryJoin(t, c, 1, "room:1")
	closedWith(t, c, 1012)
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log)
	}
}

// A port for metrics that is taken ends the server with an error that names it.
func TestMetricsPortTaken(t *testing.T) {
	s := start(t)
	var log buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if code := run(ctx, []string{"--listen=127.0.0.1:0", "--metrics-listen=" + s.addr}, nil, io.Discard, &log); code != 1 || !strings.Contains(log.String(), s.addr) {
		t.Errorf("exit %d: %s", code, &log)
	}
}
