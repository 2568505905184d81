package observer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// open serves an observer that lets in whoever has the key.
func open(t *testing.T) (addr string, b *Observer) {
	t.Helper()
	host, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err = New(host, newCounted(3), Options{Allow: func(r *http.Request) error {
		if r.Header.Get("Authorization") != "Bearer mk_right" || r.Host == "" {
			return errors.New("no")
		}
		return nil
	}})
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
	return listener.String(), b
}

func TestSocket(t *testing.T) {
	addr, _ := open(t)
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
	c, err := wstest.Dial(addr, "/observer/socket/websocket?vsn=2.0.0", http.Header{"Sec-Websocket-Protocol": {"phoenix, base64url.bearer.phx.bWtfcmlnaHQ"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Drop() }()
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
	for path, want := range map[string]string{"/observer": "<title>Observer", "/observer/": "<title>Observer", "/observer/app.js": "import", "/observer/style.css": "--ground"} {
		w := httptest.NewRecorder()
		newPages().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || w.Header().Get("Content-Security-Policy") != contentSecurityPolicy {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
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
