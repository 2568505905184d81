package autobahn

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long the echo server may take, on a busy machine, to say that it listens
// and to end after SIGTERM.
const (
	startTimeout = 30 * time.Second
	endTimeout   = 30 * time.Second
)

// buildEcho returns the path of the echo server's program.
func buildEcho(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.Command("go", "build", "-o", bin, "./echo").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// startEcho starts the echo server on a free port and returns its address. When
// the test ends it must end without an error.
func startEcho(t *testing.T, bin string, portable bool) string {
	t.Helper()
	args := []string{"-addr", "127.0.0.1:0"}
	if portable {
		args = append(args, "-portable")
	}
	cmd, stderr := exec.Command(bin, args...), new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() { stopEcho(t, cmd, ended, stderr) })
	select {
	case line := <-ready:
		_, addr, found := strings.Cut(strings.TrimSpace(line), "ws://")
		if !strings.HasPrefix(line, "READY") || !found {
			t.Fatalf("echo said %q instead of READY and its address", line)
		}
		return addr
	case <-time.After(startTimeout):
		t.Fatalf("echo is not ready after %v", startTimeout)
		return ""
	}
}

// stopEcho ends the server. What it wrote may be read once it has ended.
func stopEcho(t *testing.T, cmd *exec.Cmd, ended <-chan error, stderr *bytes.Buffer) {
	cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("echo: %v\n%s", err, stderr)
		}
	case <-time.After(endTimeout):
		cmd.Process.Signal(syscall.SIGQUIT) // shows its goroutines
		t.Errorf("echo has not ended %v after SIGTERM: %v\n%s", endTimeout, <-ended, stderr)
	}
}
