// Package child runs programs in processes of their own, for tests that see them as a
// client or an operator does.
package child

import (
	"bytes"
	"context"
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

// StartTimeout and EndTimeout bound how long a process may take, on a busy machine, to
// print that it listens, and to exit after SIGTERM.
const (
	StartTimeout = 90 * time.Second
	EndTimeout   = 90 * time.Second
)

// Build builds the program in folder into dir and returns its path. The program has the
// race detector if the test has it.
func Build(dir, folder string) (string, error) {
	bin := filepath.Join(dir, filepath.Base(folder))
	args := []string{"build", "-o", bin}
	if race.Enabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Dir = folder // which may be in a module of its own
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Run runs a program, which must exit without an error within timeout, and returns its
// output.
func Run(t *testing.T, timeout time.Duration, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// Process is a running server.
type Process struct {
	Addr   string // on which it listens
	Before string // what it printed before that
	Stderr *Tail
	Ended  <-chan struct{} // closed when it has exited

	cmd *exec.Cmd
	err error // of its exit; read it after Ended
}

// Start runs a program until the test ends. It returns when the program prints the
// address on which it listens, as "READY http://127.0.0.1:4600" or in the form in which
// [channels.Endpoint.ListenAndServe] logs it. At the end of the test the program gets
// SIGTERM and must exit without an error. The exit code also shows the reports of the
// race detector.
func Start(t *testing.T, bin string, args ...string) *Process {
	t.Helper()
	ended := make(chan struct{})
	p := &Process{Stderr: new(Tail), Ended: ended, cmd: exec.Command(bin, args...)}
	addr := &addrFinder{found: make(chan [2]string, 1)}
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
	case found := <-addr.found:
		p.Before, p.Addr = found[0], found[1]
	case <-ended:
		t.Fatalf("%s exited before it printed its address\n%s", bin, p.Stderr)
	case <-time.After(StartTimeout):
		t.Fatalf("%s did not print its address within %v\n%s", bin, StartTimeout, p.Stderr)
	}
	return p
}

// addrFinder finds the address of a process in its output.
type addrFinder struct {
	found chan [2]string // what was printed before the address, and the address; has room for one

	mu   sync.Mutex
	text []byte // guarded by mu; the output so far, nil once done
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
	if m := addrPattern.FindSubmatchIndex(a.text); m != nil {
		a.found <- [2]string{string(a.text[:m[0]]), string(a.text[m[2]:m[3]])}
		a.done, a.text = true, nil
	}
	return len(p), nil
}

// Terminate sends SIGTERM, as an operator does.
func (p *Process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// stop stops the program.
func (p *Process) stop(t *testing.T) {
	p.Terminate() //nolint:errcheck // it may have exited
	select {
	case <-p.Ended:
		if p.err != nil {
			t.Errorf("%s: %v\n%s", p.cmd.Path, p.err, p.Stderr)
		}
	case <-time.After(EndTimeout):
		p.cmd.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // shows its goroutines
		<-p.Ended
		t.Errorf("%s has not exited %v after SIGTERM\n%s", p.cmd.Path, EndTimeout, p.Stderr)
	}
}

// Tail keeps the end of a process's output. The zero value is ready to use, and its
// methods are safe from any goroutine.
type Tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// tailKept bounds a Tail, in bytes. Crashes that clients ask for log their stacks, and a
// report of the race detector before them must still be there.
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

// String returns the end of the output.
func (b *Tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
