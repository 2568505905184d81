package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// joinRealtime connects as Supabase's clients do and joins a channel.
func joinRealtime(t *testing.T, s *server, target, params, reply string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(s.addr, target, nil)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	t.Cleanup(func() { c.Drop() })
	if err := c.WriteText(`["1","1","realtime:r","phx_join",` + params + `]`); err != nil {
		t.Fatal(err)
	}
	expect(t, c, reply)
	return c
}

const joinedReply = `"phx_reply",{"response":{"postgres_changes":[]},"status":"ok"}`

// TestRealtime: the default instance serves Supabase's clients, with the server's tokens and with keys that a reload
// changes.
func TestRealtime(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "m.yaml")
	write := func(rest string) {
		t.Helper()
		text := "dialect: realtime\nauth:\n  secret: " + secret + "\n  join: [\"room-{sub}\"]\n" + rest
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("realtime:\n  keys: [sb_publishable_1]\n")
	s := start(t, "serve", "--config="+file)
	joinRealtime(t, s, "/realtime/v1/websocket?apikey=sb_publishable_1&vsn=2.0.0", `{"config":{}}`, joinedReply)
	c := joinRealtime(t, s, "/socket/websocket?apikey=sb_publishable_1&vsn=2.0.0", `{"config":{}}`, joinedReply)
	if _, err := wstest.Dial(s.addr, "/socket/websocket?apikey=sb_publishable_2", nil); err == nil {
		t.Error("another key connects")
	}
	for _, path := range []string{"/api/broadcast", "/realtime/v1/api/broadcast", "/socket/default/api/broadcast"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+path+"/r/events/e", strings.NewReader(`"`+path+`"`))
		r.Header.Set("Apikey", "sb_publishable_1")
		if status, body := do(t, r); status != 202 {
			t.Errorf("POST to %s: %d %s", path, status, body)
		}
		expect(t, c, `e{"_json":"`+path+`"}`)
	}

	write("realtime:\n  keys: [sb_publishable_2]\n  private_only: true\n")
	s.hangup(t)
	private := `{"config":{"private":true},"access_token":"%s"}`
	joinRealtime(t, s, "/socket/websocket?apikey=sb_publishable_2&vsn=2.0.0", `{"config":{}}`, "PrivateOnly")
	joinRealtime(t, s, "/socket/websocket?apikey=sb_publishable_2&vsn=2.0.0", fmt.Sprintf(private, "x"), "MalformedJWT")
}

// TestRealtimeTokens: an instance keeps what verifies its tokens while a change of it fails, and one that is not known
// accepts nothing.
func TestRealtimeTokens(t *testing.T) {
	var tokens realtimeTokens
	if tokens.current("one") == nil {
		t.Error("an instance that is not known needs no tokens")
	}
	first, second := new(auth.Verifier), new(auth.Verifier)
	removeFirst := tokens.add("one", first)
	removeSecond := tokens.add("one", second)
	if tokens.current("one") != second {
		t.Error("the newer verifier does not count")
	}
	removeSecond()
	if tokens.current("one") != first {
		t.Error("the verifier of the life that goes on is gone")
	}
	removeAgain := tokens.add("one", first) // the same one, which a reload shares
	removeFirst()
	if tokens.current("one") != first {
		t.Error("the verifier of the new life went with the old life")
	}
	removeAgain()
	if v := tokens.current("one"); v == nil || v == first {
		t.Error("after all lives, tokens are not refused")
	}
	tokens.add("open", nil)
	if tokens.current("open") != nil {
		t.Error("an instance without auth needs tokens")
	}
}
