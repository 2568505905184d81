package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// logLine is what TestLogVolume looks at in a line.
type logLine struct {
	Level, Message, Kind, Path string
	Lines                      int
}

// TestLogVolume: whatever a stranger does in a loop, the log stays short and says
// how often it happened.
func TestLogVolume(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	config := "instances:\n" +
		"  - {id: chat, type: chat}\n" +
		"  - {id: closed, type: chat, auth: {keys: [{alg: HS256, secret: 0123456789abcdef0123456789abcdef}]}}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(path string, header http.Header) func(t *testing.T, s *server) {
		return func(t *testing.T, s *server) {
			var status *wstest.StatusError
			if _, err := wstest.Dial(s.addr, path, header); !errors.As(err, &status) {
				t.Fatalf("%s: %v, want a refusal", path, err)
			}
		}
	}
	send := func(path string, texts ...string) func(t *testing.T, s *server) {
		return func(t *testing.T, s *server) {
			c, err := wstest.Dial(s.addr, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			var all []byte
			for _, text := range texts {
				all = wstest.AppendFrame(all, true, 1, []byte(text))
			}
			if err := c.WriteRaw(all); err != nil {
				t.Fatal(err)
			}
			if len(texts) < 100 { // else it goes at once
				expect(t, c, `phx_error`)
			}
			_ = c.Drop()
		}
	}
	var joins []string
	for i := range 100 {
		joins = append(joins, fmt.Sprintf(`["%d","%d","room:%d","phx_join",{}]`, i, i, i))
	}
	long := strings.Repeat("x", 15_000)
	for name, c := range map[string]struct {
		rounds int
		do     func(t *testing.T, s *server)
		kind   string // of the lines; empty: there are none
	}{
		"joins":   {100, send("/socket/chat/websocket?vsn=2.0.0", joins...), ""},
		"origins": {1000, refused("/socket/chat/websocket?vsn=2.0.0", http.Header{"Origin": {"http://" + long}}), "origin refused"},
		"vsn":     {300, refused("/socket/chat/websocket?vsn="+long, nil), "protocol version refused"},
		"tokens":  {300, refused("/socket/closed/websocket?vsn=2.0.0&token="+long, nil), "token refused"},
		"events": {300, send("/socket/websocket?vsn=2.0.0", `["1","1","room:`+long[:200]+`","phx_join",{}]`,
			`["1","2","room:`+long[:200]+`",17,{}]`), "channel crashed"},
		"requests": {300, func(t *testing.T, s *server) {
			request, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/api/instances/"+long[:1000], nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+long[:1000])
			r, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != http.StatusUnauthorized {
				t.Fatalf("a bad key: %d", r.StatusCode)
			}
		}, "request refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(http.DefaultClient.CloseIdleConnections)

			s := start(t, "serve", "--config="+file, "--drain-interval=1ms")
			begun, before := time.Now(), len(s.log.String())
			for range c.rounds {
				c.do(t, s)
			}
			seconds := int(time.Since(begun)/time.Second) + 2 // begun ones
			if c.kind != "" {
				for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.log.String(), `"kind":"`+c.kind) && time.Now().Before(deadline); {
					time.Sleep(10 * time.Millisecond) // its second is not over
				}
			}
			s.stop()
			text := s.log.String()[before:]
			checkVolume(t, text, seconds, c.kind, c.rounds)
		})
	}
}

// checkVolume: in each second ten lines of a kind and their summary, of a length
// that can be read; nothing is lost from the count.
func checkVolume(t *testing.T, text string, seconds int, kind string, rounds int) {
	t.Helper()
	lines, counted := 0, 0
	for line := range strings.Lines(text) {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%.300q: %v", line, err)
		}
		if len(line) > 1500 {
			t.Fatalf("a line of %d bytes: %.300s", len(line), line)
		}
		if l.Level == "error" {
			t.Fatalf("an error: %.300s", line)
		}
		if l.Level == "info" {
			continue
		}
		lines++
		switch kind {
		case l.Message:
			counted++
			if l.Path == "/" {
				t.Fatalf("not the request's path: %.300s", line)
			}
		case l.Kind:
			counted += l.Lines
		}
	}
	if most := 11 * seconds; kind == "" && lines > 0 || lines > most {
		t.Errorf("%d lines in %d seconds, want %d at most:\n%.1000s", lines, seconds, most, text)
	}
	if kind != "" && counted != rounds {
		t.Errorf("%d of %d are accounted for:\n%.1000s", counted, rounds, text)
	}
}
