package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers all requests with one status.
func serve(t *testing.T, status int, body string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

func TestReplay(t *testing.T) {
	tests := []struct {
		name   string
		status int
		run    string
		failed int
		out    []string
	}{
		{"pass", 404, "^handshake_unknown_path$", 0, []string{"ok    handshake_unknown_path  (bandit)", "1 of 1 scenarios passed", "client 1 saw 404"}},
		{"fail", 403, "^handshake_unknown_path$", 1, []string{"FAIL  handshake_unknown_path", "expected status 404", "received 403", "(cowboy): step 1", "0 of 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s, err := parse([]string{"-addr", serve(t, tt.status, "lab: not found"), "-run", tt.run, "-v", "../transcripts"}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			failed, err := replay(context.Background(), s, &out)
			if err != nil || failed != tt.failed {
				t.Errorf("%d failed, %v; want %d", failed, err, tt.failed)
			}
			for _, part := range tt.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("%q is not in the output:\n%s", part, out.String())
				}
			}
		})
	}
}

func TestSelection(t *testing.T) {
	for _, args := range [][]string{
		{"-transport", "carrier-pigeon", "x"}, {"-run", "(", "x"}, {}, {"a", "b"}, {"-frobnicate"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	for transport, want := range map[string]bool{"all": true, "longpoll": true, "websocket": false} {
		s, err := parse([]string{"-transport", transport, "-run", "lp_", "../transcripts"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		scenarios, err := load(s)
		if err != nil {
			t.Fatal(err)
		}
		selected := 0
		for _, scenario := range scenarios {
			if s.selects(scenario) {
				selected++
			}
		}
		if (selected > 0) != want {
			t.Errorf("-transport %s selects %d of lp_", transport, selected)
		}
	}
	if _, err := replay(context.Background(), settings{dir: "no such folder"}, io.Discard); err == nil {
		t.Error("a folder that does not exist was played")
	}
}
