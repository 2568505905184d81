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

// startServer builds and starts the program in a folder on a free port, with the
// race detector if the test has it, and returns its address. When the test ends it
// must drain and exit without an error: the race detector reports by the exit code,
// too.
func startServer(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Base(dir)
	bin := filepath.Join(t.TempDir(), name)
	args := []string{"build", "-o", bin}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Dir = dir // it may be a module of its own
	if out, err := build.CombinedOutput(); err != nil {
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
	t.Cleanup(func() { stopServer(t, cmd, ended, stderr) })
	select {
	case line := <-ready:
		_, url, found := strings.Cut(strings.TrimSpace(line), "http://")
		if !found {
			t.Fatalf("%s said %q instead of its address\n%s", name, line, stderr)
		}
		addr, _, _ := strings.Cut(url, "/")
		return addr
	case <-time.After(startTimeout):
		t.Fatalf("%s is not ready after %v\n%s", name, startTimeout, stderr)
		return ""
	}
}

// stopServer ends the program as an operator does.
func stopServer(t *testing.T, cmd *exec.Cmd, ended <-chan error, stderr *tail) {
	cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%s: %v\n%s", cmd.Path, err, stderr)
		}
	case <-time.After(endTimeout):
		cmd.Process.Signal(syscall.SIGQUIT) // shows its goroutines
		t.Errorf("%s has not ended %v after SIGTERM: %v\n%s", cmd.Path, endTimeout, <-ended, stderr)
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
