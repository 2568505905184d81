package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/events"
)

// TestAStreamEndsWithItsKey: also while there are events all the time.
func TestAStreamEndsWithItsKey(t *testing.T) {
	var latest atomic.Pointer[API]
	f := newFixture(t, Options{Latest: latest.Load})
	latest.Store(f.api)
	f.api.events = events.New(events.Options{})
	defer f.api.events.Close(context.Background())
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	server := httptest.NewServer(f.api)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/instances/a/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+f.secret)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	lines := bufio.NewScanner(response.Body)
	awaitEvent := func(name string) bool {
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"`+name+`"`) {
				return true
			}
		}
		return false
	}
	broadcast := func(name string) {
		t.Helper()
		if err := f.manager.Broadcast("a", "room:1", name, json.RawMessage("{}")); err != nil {
			t.Fatal(err)
		}
	}
	broadcast("before")
	if !awaitEvent("before") {
		t.Fatalf("the stream has ended: %v", lines.Err())
	}
	_, other := NewKey("other", []Scope{Admin}, nil)
	replaced, err := New(f.manager, Options{Keys: []Key{other}, Before: f.api})
	if err != nil {
		t.Fatal(err)
	}
	latest.Store(replaced)
	broadcast("after")
	if awaitEvent("after") {
		t.Error("a key that was removed still gets events")
	}
}
