// Package child runs programs in processes of their own, for tests of what a client
// or an operator sees.
package child

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// How long a process may take, on a busy machine, to say that it listens, and to end
// after SIGTERM.
const (
	StartTimeout = 30 * time.Second
	EndTimeout   = 45 * time.Second
)

// Build builds the program in folder into dir and returns its path. It has the race
// detector if the test has it.
func Build(dir, folder string) (string, error) {
	bin := filepath.Join(dir, filepath.Base(folder))
	args := []string{"build", "-o", bin}
	if race.Enabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Dir = folder // it may be a module of its own
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Process is a program that listens.
type Process struct {
	Addr   string // where it listens
	Stderr *Tail
	Ended  <-chan struct{} // closed when it has ended

	cmd *exec.Cmd
	err error // why it ended; read after Ended
}

// Start runs a program whose first line has its address when it listens: "READY
// http://127.0.0.1:4600". When the test ends, so does the program by SIGTERM. It must then exit
// without an error: the race detector reports by the exit code, too.
func Start(t *testing.T, bin string, args ...string) *Process {
	t.Helper()
	ended := make(chan struct{})
	p := &Process{Stderr: new(Tail), Ended: ended, cmd: exec.Command(bin, args...)}
	p.cmd.Stderr = p.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(ended)
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.stop(t) })
	select {
	case line := <-ready:
		_, url, found := strings.Cut(strings.TrimSpace(line), "://")
		if !found {
			t.Fatalf("%s said %q instead of its address\n%s", bin, line, p.Stderr)
		}
		p.Addr, _, _ = strings.Cut(url, "/")
	case <-time.After(StartTimeout):
		t.Fatalf("%s is not ready after %v\n%s", bin, StartTimeout, p.Stderr)
	}
	return p
}

// Terminate sends SIGTERM, as an operator does.
func (p *Process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// stop ends the program.
func (p *Process) stop(t *testing.T) {
	p.Terminate() //nolint:errcheck // it may have ended
	select {
	case <-p.Ended:
		if p.err != nil {
			t.Errorf("%s: %v\n%s", p.cmd.Path, p.err, p.Stderr)
		}
	case <-time.After(EndTimeout):
		p.cmd.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // shows its goroutines
		<-p.Ended
		t.Errorf("%s has not ended %v after SIGTERM\n%s", p.cmd.Path, EndTimeout, p.Stderr)
	}
}

// Tail keeps the end of what a process writes. Its zero value is ready to use; any
// goroutine may use it.
type Tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// tailKept bounds a Tail, in bytes: crashes that clients ask for log their stacks,
// and a report of the race detector must still be there.
const tailKept = 4 << 20

// Write implements io.Writer.
func (b *Tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if over := b.buf.Len() + len(p) - tailKept; over > 0 {
		b.buf.Next(over)
	}
	return b.buf.Write(p)
}

// String returns what has been kept.
func (b *Tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
