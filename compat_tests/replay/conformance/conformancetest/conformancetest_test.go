package conformancetest

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveNotFound answers every request with 404 "lab: not found".
func serveNotFound(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\nConnection: close\r\n\r\nlab: not found"))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// TestRun plays the recordings of an unknown path on two servers.
func TestRun(t *testing.T) {
	const dir = "../../../transcripts"
	small := t.TempDir()
	for _, server := range []string{"bandit", "cowboy"} {
		files, err := filepath.Glob(filepath.Join(dir, server, "handshake_*_path.json"))
		if err != nil || len(files) < 3 {
			t.Fatalf("%d recordings, %v", len(files), err)
		}
		if err := os.Mkdir(filepath.Join(small, server), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), "lab: not found") {
				continue
			}
			if err := os.WriteFile(filepath.Join(small, server, filepath.Base(f)), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	Run(t, small, serveNotFound(t), serveNotFound(t))
}
