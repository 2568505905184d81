package observer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// open serves an observer that lets in whoever has the key, as long as that
// counts.
func open(t *testing.T) (addr string, b *Observer, counts *atomic.Bool) {
	t.Helper()
	host, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	counts = new(atomic.Bool)
	counts.Store(true)
	b, err = New(host, newCounted(3), Options{
		Allow: func(r *http.Request) (string, error) {
			if r.Header.Get("Authorization") != "Bearer mk_right" {
				return "", errors.New("no")
			}
			return "sha256:right", nil
		},
		Holds: func(keyID string) bool { return keyID == "sha256:right" && counts.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.Close(context.Background()), host.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	})
	listener, err := host.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener.String(), b, counts
}

// enter connects with the key.
func enter(t *testing.T, addr string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(addr, "/observer/socket/websocket?vsn=2.0.0", http.Header{"Sec-Websocket-Protocol": {"phoenix, base64url.bearer.phx.bWtfcmlnaHQ"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	return c
}

// TestKeyRemoved: what a key has opened closes with it, and what it opens at
// that moment does not become more.
func TestKeyRemoved(t *testing.T) {
	addr, b, counts := open(t)
	joined, late := enter(t, addr), enter(t, addr)
	if err := joined.WriteText(`["1","1","observer","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, joined, `"instances":3`)
	if err := b.Recheck(); err != nil { // the key still counts
		t.Fatal(err)
	}
	expect(t, joined, `"sample"`)
	counts.Store(false)
	if err := late.WriteText(`["1","1","observer","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, late, "is no longer valid")
	if err := b.Recheck(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*wstest.Client{joined, late} {
		for {
			_, _, err := c.ReadMessage()
			var closed *wstest.CloseError
			if errors.As(err, &closed) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSocket(t *testing.T) {
	addr, _, _ := open(t)
	for _, token := range []string{"", "bWtfd3Jvbmc"} { // mk_wrong
		header := http.Header{}
		if token != "" {
			header.Set("Sec-WebSocket-Protocol", "phoenix, base64url.bearer.phx."+token)
		}
		if c, err := wstest.Dial(addr, "/observer/socket/websocket?vsn=2.0.0", header); err == nil {
			_ = c.Drop()
			t.Errorf("%q may look", token)
		}
	}
	c := enter(t, addr)
	for _, step := range []struct{ send, want string }{
		{`["1","1","observer","phx_join",{}]`, `"instances":3`},
		{"", `"sample"`}, // by itself, a second later
		{`["1","2","observer","rows",{"limit":2,"sort":"id"}]`, `"total":3`},
		{`["1","3","observer","history",{"id":"i0"}]`, `{"connections":[],"rates":[]}`},
		{`["1","4","observer","rows",{"limit":"x"}]`, `"limit\" is a JSON string`},
	} {
		if step.send != "" {
			if err := c.WriteText(step.send); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, c, step.want)
	}
}

// TestAccess: a page learns why its key does not open the socket.
func TestAccess(t *testing.T) {
	_, b, _ := open(t)
	for key, want := range map[string]int{"mk_right": http.StatusNoContent, "mk_wrong": http.StatusForbidden, "": http.StatusForbidden} {
		r := httptest.NewRequest("GET", accessPath, nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if w.Code != want || (want == http.StatusForbidden) != (w.Body.String() == "no\n") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %d %q %v", key, w.Code, w.Body, w.Header())
		}
	}
}

func expect(t *testing.T, c *wstest.Client, part string) {
	t.Helper()
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v", part, err)
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		if strings.Contains(string(data), part) {
			return
		}
	}
}

func TestPages(t *testing.T) {
	for path, want := range map[string]string{"/observer": "<title>Observer", "/observer/app.js": "import", "/observer/style.css": "--ground"} {
		w := httptest.NewRecorder()
		newPages().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || w.Header().Get("Content-Security-Policy") != contentSecurityPolicy {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	for _, path := range []string{"/observer/", "/observer/index.html"} {
		w := httptest.NewRecorder()
		newPages().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if location := w.Header().Get("Location"); w.Code != 308 || location != "../observer" {
			t.Errorf("%s: %d to %q, want 308 to ../observer", path, w.Code, location)
		}
	}
	for _, path := range []string{"/observer/../observer.go", "/observer/nothing.js"} {
		w := httptest.NewRecorder()
		newPages().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code < 400 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
