package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestStopWhileFilesHang: a file of TLS whose reader waits for ever, as one on a network file
// system may, keeps nobody from stopping the server, and a reload comes when it can be read.
func TestStopWhileFilesHang(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, cert, key, 1)
	s := start(t, "serve", "--tls-cert="+cert, "--tls-key="+key)
	right, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	hangup := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	// hang has the server read a file that has no end before resume gives it one.
	hang := func() (resume func(text []byte)) {
		t.Helper()
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(key, 0o600); err != nil {
			t.Fatal(err)
		}
		hangup()
		var pipe *os.File
		waittest.For(t, "the server to read the file", func() bool {
			pipe, err = os.OpenFile(key, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			return err == nil
		})
		return func(text []byte) {
			if _, err := pipe.Write(text); err != nil {
				t.Error(err)
			}
			pipe.Close()
		}
	}
	resume := hang()
	hangup()
	waittest.For(t, "the log to say that a reload waits", func() bool { return strings.Contains(s.log.String(), "the reload waits for files that are being read") })
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	writeFile(t, key, string(right))
	resume(right)
	waittest.For(t, "the reload", func() bool { return strings.Contains(s.log.String(), `"message":"configuration reloaded"`) })

	resume = hang()
	defer resume(nil)
	stopped := make(chan int, 1)
	go func() { stopped <- s.stop() }()
	select {
	case code := <-stopped:
		if code != 0 {
			t.Errorf("exit code %d\n%s", code, s.log)
		}
	case <-time.After(patience):
		t.Fatalf("the server does not stop\n%s", s.log)
	}
}
