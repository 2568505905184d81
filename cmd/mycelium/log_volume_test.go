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
	t.Parallel()
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
			t.Parallel()
			t.Cleanup(http.DefaultClient.CloseIdleConnections)

			s := start(t, "serve", "--config="+file, "--drain-interval=1ms")
			begun, before := time.Now(), len(s.log.String())
			for range c.rounds {
				c.do(t, s)
			}
			seconds := int(time.Since(begun)/time.Second) + 2 // begun ones
			for deadline := time.Now().Add(patience); c.kind != "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				if accountedFor(t, linesOf(t, s.log.String()[before:]), c.kind) == c.rounds {
					break // the last second is over
				}
			}
			s.stop()
			checkVolume(t, s.log.String()[before:], seconds, c.kind, c.rounds)
		})
	}
}

// linesOf are the lines of a log; one that is too long fails the test.
func linesOf(t *testing.T, text string) (lines []logLine) {
	t.Helper()
	for line := range strings.Lines(text) {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%.300q: %v", line, err)
		}
		if len(line) > 1500 {
			t.Fatalf("a line of %d bytes: %.300s", len(line), line)
		}
		lines = append(lines, l)
	}
	return lines
}

// accountedFor is how often lines say that something has happened.
func accountedFor(t *testing.T, lines []logLine, kind string) (n int) {
	t.Helper()
	for _, l := range lines {
		switch kind {
		case l.Message:
			n++
			if l.Path == "/" {
				t.Fatalf("not the request's path: %+v", l)
			}
		case l.Kind:
			n += l.Lines
		}
	}
	return n
}

// checkVolume: in each second ten lines of a kind and their summary, of a length
// that can be read; nothing is lost from the count.
func checkVolume(t *testing.T, text string, seconds int, kind string, rounds int) {
	t.Helper()
	lines, n := linesOf(t, text), 0
	for _, l := range lines {
		if l.Level == "error" {
			t.Fatalf("an error: %+v", l)
		}
		if l.Level != "info" {
			n++
		}
	}
	if most := 11 * seconds; kind == "" && n > 0 || n > most {
		t.Errorf("%d lines in %d seconds, want %d at most:\n%.1000s", n, seconds, most, text)
	}
	if counted := accountedFor(t, lines, kind); kind != "" && counted != rounds {
		t.Errorf("%d of %d are accounted for:\n%.1000s", counted, rounds, text)
	}
}
