package clients

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// How long the application may take, on a busy machine, to say that it listens
// and to end after SIGTERM.
const (
	startTimeout = 30 * time.Second
	endTimeout   = 45 * time.Second
)

// startLabapp builds and starts the compatibility application on a free port,
// with the race detector if the test has it, and returns its address. When the
// test ends it must drain and exit without an error: the race detector reports
// by the exit code, too.
func startLabapp(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "labapp")
	args := []string{"build", "-o", bin}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../labapp")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd, stderr := exec.Command(bin, "-addr", "127.0.0.1:0"), new(tail)
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
	t.Cleanup(func() { stopLabapp(t, cmd, ended, stderr) })
	select {
	case line := <-ready:
		_, addr, found := strings.Cut(strings.TrimSpace(line), "http://")
		if !strings.HasPrefix(line, "READY") || !found {
			t.Fatalf("labapp said %q instead of READY and its address\n%s", line, stderr)
		}
		return addr
	case <-time.After(startTimeout):
		t.Fatalf("labapp is not ready after %v\n%s", startTimeout, stderr)
		return ""
	}
}

// stopLabapp ends the application as an operator does.
func stopLabapp(t *testing.T, cmd *exec.Cmd, ended <-chan error, stderr *tail) {
	cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("labapp: %v\n%s", err, stderr)
		}
	case <-time.After(endTimeout):
		cmd.Process.Signal(syscall.SIGQUIT) // shows its goroutines
		t.Errorf("labapp has not ended %v after SIGTERM: %v\n%s", endTimeout, <-ended, stderr)
	}
}

// tail keeps the end of what a process writes. Zero is ready to use.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// tailKept bounds a tail, in bytes: crashes that clients ask for log their
// stacks, and a report of the race detector must still be there.
const tailKept = 1 << 20

// Write is io.Writer's.
func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if over := b.buf.Len() + len(p) - tailKept; over > 0 {
		b.buf.Next(over)
	}
	return b.buf.Write(p)
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
