package clients

import (
	"bufio"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// programTimeout bounds a client's program. On an idle machine it takes less than half a
// minute.
const programTimeout = 8 * time.Minute

// cutLine is the line that a program writes to have its connections through the proxy cut.
const cutLine = "proxy: cut"

// These variables have the addresses of the server and of a proxy in front of it for a
// program. Maven does not pass on arguments.
const (
	serverEnv = "LABAPP_ADDR"
	proxyEnv  = "LABAPP_PROXY"
)

// runProgram runs a client's program and returns its outcomes by behaviour.
func runProgram(t *testing.T, dir string, command []string, addr string) map[string]outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	p := startProxy(t, addr)
	cmd := newCommand(ctx, dir, command)
	cmd.Env = append(os.Environ(), serverEnv+"="+addr, proxyEnv+"="+p.addr())
	stderr := new(child.Tail)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outcomes, other := collect(stdout, p)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", strings.Join(command, " "), err, other, stderr)
	}
	for behaviour, o := range outcomes {
		if o.kind == failed {
			t.Logf("after the failure of %q:\n%s\n%s", behaviour, other, stderr)
			break
		}
	}
	return outcomes
}

// collect reads a program's output to the end, and cuts the proxy when a line asks for it.
func collect(stdout io.Reader, p *proxy) (map[string]outcome, string) {
	outcomes, other := map[string]outcome{}, new(child.Tail)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		line := lines.Text()
		if line == cutLine {
			p.cut()
			continue
		}
		behaviour, o, ok := parseOutcome(line)
		if _, twice := outcomes[behaviour]; ok && !twice {
			outcomes[behaviour] = o
			continue
		}
		other.Write([]byte(line + "\n")) // never fails
	}
	io.Copy(io.Discard, stdout) // after a line that is too long; otherwise the program would block
	return outcomes, other.String()
}

// newCommand returns a command that runs in dir. A program with a slash in its name is a
// file of that folder.
func newCommand(ctx context.Context, dir string, command []string) *exec.Cmd {
	if strings.Contains(command[0], "/") {
		if absolute, err := filepath.Abs(filepath.Join(dir, command[0])); err == nil {
			command = slices.Concat([]string{absolute}, command[1:])
		}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // children that keep a pipe open must not block the test
	return cmd
}

func TestCollect(t *testing.T) {
	p := startProxy(t, "127.0.0.1:1")
	said := "\x1b[0m\njoin: ok\nsomething else\n" + cutLine + "\njoin: FAIL behind its outcome\nleave: FAIL why\n"
	outcomes, other := collect(strings.NewReader(said), p)
	want := map[string]outcome{"join": {passed, ""}, "leave": {failed, "why"}}
	if !maps.Equal(outcomes, want) {
		t.Errorf("outcomes: got %v, want %v", outcomes, want)
	}
	if want := "\x1b[0m\nsomething else\njoin: FAIL behind its outcome\n"; other != want {
		t.Errorf("other lines: got %q, want %q", other, want)
	}
}
