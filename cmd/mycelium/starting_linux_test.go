package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestNotReadyWhileItStarts: a server that still reads what it has kept is alive, but no
// balancer sends it clients: they could not connect.
func TestNotReadyWhileItStarts(t *testing.T) {
	t.Parallel()
	data, watch := t.TempDir(), addrtest.Free(t)
	kept := filepath.Join(data, historyFile)
	if err := unix.Mkfifo(kept, 0o600); err != nil { // it is read until somebody has written it
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var log buffer
	go func() {
		done <- run(ctx, []string{"--listen=127.0.0.1:0", "--metrics-listen=" + watch, "--data=" + data}, []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, io.Discard, &log)
	}()
	waittest.For(t, "the port of metrics", func() bool { return strings.Contains(log.String(), `"message":"metrics"`) })
	if status, _ := get(t, "http://"+watch+"/healthz"); status != http.StatusOK {
		t.Errorf("while it starts, /healthz: %d", status)
	}
	if status, text := get(t, "http://"+watch+"/readyz"); status != http.StatusServiceUnavailable || text != "starting\n" {
		t.Errorf("while it starts, /readyz: %d, %q", status, text)
	}
	if strings.Contains(log.String(), `"message":"listening"`) {
		t.Error("it takes clients before it has read what it has kept")
	}
	file, err := os.OpenFile(kept, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	waittest.For(t, "the server to be ready", func() bool {
		status, _ := get(t, "http://"+watch+"/readyz")
		return status == http.StatusOK
	})
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d\n%s", code, &log)
	}
}
