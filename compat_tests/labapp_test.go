package compat_tests

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// How long a child process may take, on a busy machine, to say that it listens
// and to end after SIGTERM.
const (
	startTimeout = 30 * time.Second
	endTimeout   = 30 * time.Second
)

// loopKinds are the flags of the two ways in which connections are served.
var loopKinds = map[string][]string{"epoll": nil, "portable": {"-portable"}}

// buildLabapp builds the compatibility application once for all tests, with
// the race detector if they have it.
var buildLabapp = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "labapp")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) }) // a temporary folder
	bin := filepath.Join(dir, "labapp")
	args := []string{"build", "-o", bin}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "./labapp")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// cleanups run after all tests.
var cleanups []func()

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, f := range cleanups {
			f()
		}
		os.Exit(code)
	}))
}

// labapp is the application in a process of its own.
type labapp struct {
	addr   string
	cmd    *exec.Cmd
	stderr *logBuffer
	ended  chan struct{} // closed when the process has ended with err
	err    error
}

// startLabapp starts the application on a free port. When the test ends, so
// does the application, which must then drain and exit without an error: the
// race detector reports by the exit code, too.
func startLabapp(t *testing.T, args ...string) *labapp {
	t.Helper()
	bin, err := buildLabapp()
	if err != nil {
		t.Fatal(err)
	}
	app := &labapp{
		cmd:    exec.Command(bin, append([]string{"-addr", "127.0.0.1:0"}, args...)...),
		stderr: new(logBuffer), ended: make(chan struct{}),
	}
	app.cmd.Stderr = app.stderr
	stdout, err := app.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := app.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line
		app.err = app.cmd.Wait()
		close(app.ended)
	}()
	t.Cleanup(func() { app.stop(t) })
	select {
	case line := <-ready:
		_, addr, found := strings.Cut(strings.TrimSpace(line), "http://")
		if !strings.HasPrefix(line, "READY") || !found {
			t.Fatalf("labapp said %q instead of READY and its address\n%s", line, app.stderr)
		}
		app.addr = addr
	case <-time.After(startTimeout):
		t.Fatalf("labapp is not ready after %v\n%s", startTimeout, app.stderr)
	}
	return app
}

// stop ends the application as an operator does.
func (app *labapp) stop(t *testing.T) {
	app.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-app.ended:
	case <-time.After(endTimeout):
		app.cmd.Process.Signal(syscall.SIGQUIT) // shows its goroutines
		<-app.ended
		t.Errorf("labapp has not ended %v after SIGTERM\n%s", endTimeout, app.stderr)
		return
	}
	if app.err != nil {
		t.Errorf("labapp: %v\n%s", app.err, app.stderr)
	}
}

// logBuffer keeps the end of what a process writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// logKept bounds a logBuffer, in bytes: crashes that recordings ask for log
// their stacks, and a report of the race detector must still be there.
const logKept = 4 << 20

// Write is io.Writer's.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if over := b.buf.Len() + len(p) - logKept; over > 0 {
		b.buf.Next(over)
	}
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eachLoopKind runs a test against the application served by each kind of
// loop, side by side.
func eachLoopKind(t *testing.T, test func(t *testing.T, app *labapp)) {
	for name, args := range loopKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "epoll" && runtime.GOOS != "linux" {
				t.Skip("no epoll on " + runtime.GOOS)
			}
			test(t, startLabapp(t, args...))
		})
	}
}

// testContext ends shortly before the test binary's own timeout, so that what
// hangs is reported by its test.
func testContext(t *testing.T) context.Context {
	deadline, set := t.Deadline()
	if !set {
		return t.Context()
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-endTimeout))
	t.Cleanup(cancel)
	return ctx
}
