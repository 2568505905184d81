// Package child runs programs in processes of their own, for tests of what a client
// or an operator sees.
package child

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
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

// Start runs a program until the test ends, and returns when it says where it
// listens: "READY http://127.0.0.1:4600", or as [channels.Endpoint.ListenAndServe] logs
// it. The program gets SIGTERM and must then exit without an error: the race detector
// reports by the exit code, too.
func Start(t *testing.T, bin string, args ...string) *Process {
	t.Helper()
	ended := make(chan struct{})
	p := &Process{Stderr: new(Tail), Ended: ended, cmd: exec.Command(bin, args...)}
	addr := &addrFinder{found: make(chan string, 1)}
	p.cmd.Stdout, p.cmd.Stderr = addr, io.MultiWriter(p.Stderr, addr)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.stop(t) })
	select {
	case p.Addr = <-addr.found:
	case <-ended:
		t.Fatalf("%s has ended and not said where it listens\n%s", bin, p.Stderr)
	case <-time.After(StartTimeout):
		t.Fatalf("%s has not said in %v where it listens\n%s", bin, StartTimeout, p.Stderr)
	}
	return p
}

// addrFinder finds the address where a process listens in what it writes.
type addrFinder struct {
	found chan string // holds one

	mu   sync.Mutex
	text []byte // guarded by mu; what was written so far, nil once done
	done bool   // guarded by mu
}

var addrPattern = regexp.MustCompile(`(?:\bREADY \w+://|\blistening addr=)([^\s/]+)[\s/]`)

// Write implements io.Writer.
func (a *addrFinder) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return len(p), nil
	}
	a.text = append(a.text, p...)
	if m := addrPattern.FindSubmatch(a.text); m != nil {
		a.done, a.text = true, nil
		a.found <- string(m[1])
	}
	return len(p), nil
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
