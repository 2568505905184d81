package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// followed is the output of "mycelium hooks follow".
type followed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *followed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(b)
}

// lines returns the events so far, as type and topic, and the id of the last.
func (f *followed) lines(t *testing.T) (list []string, last string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range strings.Lines(f.text.String()) {
		var e struct{ ID, Type, Topic string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, strings.TrimSpace(e.Type+" "+e.Topic))
		last = e.ID
	}
	return list, last
}

// await waits until there are so many events.
func (f *followed) await(t *testing.T, n int) (list []string, last string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if list, last = f.lines(t); len(list) >= n {
			return list, last
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events: %q", n, list)
		}
	}
}

// follow runs "mycelium hooks follow" until stop is called.
func follow(t *testing.T, s *server, args ...string) (f *followed, stop func()) {
	t.Helper()
	f = new(followed)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var stderr bytes.Buffer
	go func() {
		defer close(done)
		if code := run(ctx, append([]string{"hooks", "follow", "default", "--server=" + s.addr}, args...), s.environ, f, &stderr); code != 0 {
			t.Errorf("follow ended with %d: %s", code, &stderr)
		}
	}()
	return f, func() { cancel(); <-done }
}

// TestFollowEvents: a back end without an address follows what happens, comes back, and has
// missed nothing; when the server stops, the stream ends.
func TestFollowEvents(t *testing.T) {
	t.Parallel()
	s := start(t, "serve")
	publish := func(topic string) {
		t.Helper()
		if status, text := s.call(t, "POST", "/api/instances/default/broadcast", `{"topic":"`+topic+`","event":"m"}`); status != 204 {
			t.Fatalf("%d %s", status, text)
		}
	}
	f, stop := follow(t, s, "--type=published", "--type=joined", "--topic=room:*")
	for { // until it follows
		publish("room:0")
		if list, _ := f.lines(t); len(list) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	c := dial(t, s, "&user=ada")
	if err := c.WriteText(`["1","1","room:1","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, c, `"status":"ok"`)
	publish("other:1")
	publish("room:end")
	list, _ := f.await(t, 1)
	for list[len(list)-1] != "published room:end" {
		list, _ = f.await(t, len(list)+1)
	}
	if got := strings.Join(list[len(list)-2:], ", "); got != "joined room:1, published room:end" {
		t.Errorf("followed %s", got)
	}
	_, last := f.lines(t)
	stop()
	publish("room:missed")
	f, stop = follow(t, s, "--type=published", "--topic=room:*", "--after="+last)
	if list, _ := f.await(t, 1); list[0] != "published room:missed" {
		t.Errorf("after it came back: %q", list)
	}
	began := time.Now()
	if code := s.stop(); code != 0 {
		t.Errorf("exit %d: %s", code, s.log)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the server stopped after %v", took)
	}
	stop()
}
